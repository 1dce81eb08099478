// SPDX-License-Identifier: Apache-2.0
export function Logo({ size = 28 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="8" fill="#0b5f63" />
      <circle cx="16" cy="16" r="8.5" fill="none" stroke="#fff" strokeWidth="2.4" />
      <path
        d="M12.6 14.2c0-1.9 1.6-3 3.3-2.4 1.5.5 1.2 2 2.5 2.5 1.8.7 2 2.7.8 3.9-1.3 1.4-3.3.4-4.6 1-1.9.8-3.6-.6-3.1-2.4.3-1 1.1-1.4 1.1-2.6z"
        fill="#9fe0dc"
      />
    </svg>
  );
}
