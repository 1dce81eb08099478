// SPDX-License-Identifier: Apache-2.0
import { Button, PasswordInput, TextInput } from '@mantine/core';
import { useDocumentTitle } from '@mantine/hooks';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { useEffect, useRef, useState, type SubmitEvent } from 'react';
import { accounts } from '@/api/calls';
import { setCsrfToken } from '@/api/http';
import { asProblem } from '@/api/problem';
import { meQuery } from '@/api/session';
import { Logo } from '@/components/Logo';
import { Notice } from '@/components/Notice';
import { safeNext } from '@/lib/searchParams';
import classes from './SignInPage.module.css';

export function SignInPage() {
  useDocumentTitle('Sign in · Medhub');
  const { next } = useSearch({ from: '/sign-in' });
  const navigate = useNavigate();
  const client = useQueryClient();
  const [email, setEmail] = useState('');
  const [password, setPassword] = useState('');
  const [missing, setMissing] = useState<{ email?: string; password?: string }>({});
  const emailField = useRef<HTMLInputElement>(null);
  const passwordField = useRef<HTMLInputElement>(null);

  useEffect(() => emailField.current?.focus(), []);

  const signIn = useMutation({
    mutationFn: () => accounts.signIn(email.trim(), password),
    onSuccess: async (me) => {
      setCsrfToken(me.csrf_token);
      client.clear();
      client.setQueryData(meQuery.queryKey, me);
      await navigate({ href: safeNext(next), replace: true });
    },
    onError: () => passwordField.current?.select(),
  });

  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const gaps = {
      ...(email.trim() ? {} : { email: 'Enter your e-mail address.' }),
      ...(password ? {} : { password: 'Enter your password.' }),
    };
    setMissing(gaps);
    if (gaps.email) emailField.current?.focus();
    else if (gaps.password) passwordField.current?.focus();
    else signIn.mutate();
  };

  const problem = signIn.error ? asProblem(signIn.error) : null;

  return (
    <main className={classes.page}>
      <div className={classes.card}>
        <div className={classes.brand}>
          <Logo size={36} />
          <h1>Medhub</h1>
        </div>
        <p className={classes.lead}>
          {next
            ? 'Your session has ended. Sign in to continue; what you typed in notes is kept.'
            : 'Sign in with the account of your laboratory.'}
        </p>
        <form onSubmit={submit} noValidate className={classes.form}>
          <TextInput
            ref={emailField}
            label="E-mail"
            type="email"
            name="email"
            autoComplete="username"
            size="md"
            value={email}
            error={missing.email}
            onChange={(event) => setEmail(event.currentTarget.value)}
          />
          <PasswordInput
            ref={passwordField}
            label="Password"
            name="password"
            autoComplete="current-password"
            size="md"
            value={password}
            error={missing.password}
            visibilityToggleButtonProps={{ 'aria-label': 'Show the password' }}
            onChange={(event) => setPassword(event.currentTarget.value)}
          />
          {problem && (
            <Notice tone="red" title={problem.status === 401 ? 'Not signed in' : problem.title}>
              {problem.detail}
            </Notice>
          )}
          <Button type="submit" size="md" loading={signIn.isPending}>
            Sign in
          </Button>
        </form>
        <p className={classes.foot}>No account, or forgotten password? Ask an administrator of your project.</p>
      </div>
    </main>
  );
}
