#!/bin/sh
# Prints a C file with the given files as the table of assets.h.
set -eu
echo '#include "web/assets.h"'
number=0
table=''
for file in "$@"; do
    name=${file##*/}
    case $name in
    *.html) type='text/html; charset=utf-8' ;;
    *.css) type='text/css; charset=utf-8' ;;
    *.js) type='text/javascript; charset=utf-8' ;;
    *.svg) type='image/svg+xml' ;;
    *) echo "embed.sh: $file: no content type for it" >&2; exit 1 ;;
    esac
    path=/$name
    [ "$name" != index.html ] || path=/
    echo "static const unsigned char bytes_$number[] = {"
    od -An -v -tu1 "$file" | sed 's/  */,/g; s/^,//; s/$/,/'
    echo '};'
    table="$table    {\"$path\", \"$type\", bytes_$number, sizeof bytes_$number},
"
    number=$((number + 1))
done
printf 'const struct asset assets[] = {\n%s    {0},\n};\n' "$table"
