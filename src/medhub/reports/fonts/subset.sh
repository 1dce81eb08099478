#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Make the report's fonts again from Debian's packages fonts-noto-core, fonts-noto-mono and fonts-noto-cjk.
# Needs pyftsubset (pip install fonttools==4.68.0). Run it in this folder.
set -eu
NOTO=${NOTO:-/usr/share/fonts/truetype/noto}
CJK=${CJK:-/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc}
# Glyph names are left out of the largest families (see below), since a PDF does not need them.
OPTIONS="--layout-features=* --no-hinting --glyph-names --notdef-outline --name-IDs=* --name-languages=* --drop-tables=DSIG"

subset() { # file, characters
    pyftsubset "$NOTO/$1" --unicodes="$2" $OPTIONS --output-file="$1"
}

for weight in Regular Bold; do
    # Latin, Greek, Cyrillic, marks, punctuation, currency, letter-like signs, the replacement sign.
    subset NotoSans-$weight.ttf "U+0020-052F,U+1C80-1C8F,U+1D00-1FFF,U+2000-20CF,U+2100-218F,U+2212,U+2215,U+221A,U+221E,U+2248,U+2260,U+2264,U+2265,U+25CC,U+2C60-2C7F,U+A640-A69F,U+A720-A7FF,U+FB00-FB06,U+FE20-FE2F,U+FEFF,U+FFFC,U+FFFD"
    for script in Arabic Devanagari Tamil; do
        subset NotoSans$script-$weight.ttf "*"
    done
done
for file in NotoSans-Regular NotoSans-Bold NotoSansArabic-Regular NotoSansArabic-Bold; do
    python3 -c "import sys; from fontTools.ttLib import TTFont; font = TTFont(sys.argv[1]); font['post'].formatType = 3.0; font.save(sys.argv[1])" "$file.ttf"
done
subset NotoSansMono-Regular.ttf "U+0020-007E,U+00A0,U+00B7,U+2010-2026,U+FFFD"
for script in Armenian Bengali Georgian Gujarati Gurmukhi Hebrew Kannada Khmer Lao Malayalam Myanmar Sinhala Telugu Thai; do
    subset NotoSans$script-Regular.ttf "*"
done
subset NotoSansMath-Regular.ttf "U+2190-21FF,U+2200-22FF,U+2308-230B,U+27E8-27E9"
# From the packages @fontsource/noto-sans-* of npm, unpacked in FONTSOURCE. The kerning of Ethiopic alone has 200 kB.
for script in ethiopic:Ethiopic oriya:Oriya thaana:Thaana ol-chiki:OlChiki meetei-mayek:MeeteiMayek; do
    name=${script%%:*}
    features="*"
    [ "$name" = ethiopic ] && features="ccmp,locl,mark,mkmk,rlig,liga"
    pyftsubset "$FONTSOURCE/noto-sans-$name/files/noto-sans-$name-$name-400-normal.woff" --unicodes="*" \
        --layout-features="$features" --no-hinting --no-glyph-names --notdef-outline --name-IDs="*" --name-languages="*" \
        --drop-tables=DSIG --output-file="NotoSans${script#*:}-Regular.ttf"
done
# Every character of the basic block in its mainland form, with kana and Korean syllables. No features: "locl" alone would
# carry the forms of four more regions along and double the size.
pyftsubset "$CJK" --font-number=2 --unicodes="U+3000-30FF,U+3100-312F,U+3130-318F,U+31A0-31BF,U+31F0-31FF,U+4E00-9FFF,U+AC00-D7A3,U+FF00-FFEF" \
    --layout-features= --no-hinting --notdef-outline --drop-tables=vhea,vmtx,VORG --output-file=NotoSansCJKsc-Regular.otf
