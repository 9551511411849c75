#!/bin/sh
# Makes deploy/env/*.env out of the examples, with a random secret in the place of each change-me-NAME. A file that is there is left as it is.
set -eu
umask 077
cd "$(dirname "$0")/env"

made=""
for example in *.env.example; do
    file=${example%.example}
    [ -e "$file" ] && continue
    cat "$example" >"$file"
    made="$made $file"
done
[ -n "$made" ] || exit 0

# shellcheck disable=SC2086
for name in $(grep -oh 'change-me-[a-z0-9_]*' $made | sort -u); do
    secret=$(head -c 24 /dev/urandom | od -An -vtx1 | tr -d ' \n')
    for file in $made; do
        sed -e "s/$name\([^a-z0-9_]\)/$secret\1/g" -e "s/$name\$/$secret/" "$file" >"$file.new"
        mv "$file.new" "$file"
    done
done
echo "Made$made"
