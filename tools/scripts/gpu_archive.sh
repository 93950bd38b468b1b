#!/bin/sh
# Packs one archive that runs `bin/espalier gpu-check --out DIR` on a Linux x86-64 machine that has a GPU and CUDA's libraries,
# but no Java and no network: tools/scripts/gpu_archive.sh OUT.tar.xz. Needs a JDK 25 with jlink, tar and xz. Without OpenBLAS
# and the embedded models; fails where the archive is 40 MB or more.
set -eu
out=${1:?"usage: gpu_archive.sh OUT.tar.xz"}
root=$(CDPATH='' cd -P "$(dirname "$0")/../.." && pwd)
# shellcheck source=../../.mvn/find-jdk.sh
. "$root/.mvn/find-jdk.sh"
find_jdk || exit 2
"$root/espalier" --version >&2 # builds, if that is to be done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
image=$work/espalier
mkdir -p "$work/tools" "$image/bin"

# xz makes less of classes that are compressed already: 14.1 MB against 21.4 for a smaller image of the same kind.
"$JAVA_HOME/bin/jlink" \
    --add-modules java.base,java.desktop,java.logging,java.management,java.net.http,java.sql,jdk.httpserver,jdk.incubator.vector,jdk.management,jdk.unsupported \
    --strip-debug --no-man-pages --no-header-files --compress zip-0 --output "$image/jre"
mkdir "$image/jars"
cp "$root"/tools/target/lib/*.jar "$image/jars"
(
    cd "$work/tools"
    "$JAVA_HOME/bin/jar" --extract --file "$(ls "$root"/tools/target/tools-*.jar)"
    rm -rf dev/espalier/tools/demo/demo-*
    "$JAVA_HOME/bin/jar" --create --no-manifest --file "$image/jars/tools.jar" .
)
cp "$root/LICENSE" "$root/NOTICE" "$image"
commit=$(git -C "$root" describe --always --dirty 2>/dev/null || echo unknown)
printf '%s\n' "$commit" >"$image/commit"
cat >"$image/bin/espalier" <<'LAUNCHER'
#!/bin/sh
# ESPALIER_CUDA_PATH: a folder with CUDA's libraries, for example Python's site-packages. ESPALIER_JAVA_OPTS: more for the JVM.
here=$(CDPATH='' cd -P "$(dirname "$0")/.." && pwd)
case ${LC_ALL:-${LC_CTYPE:-${LANG:-C}}} in
    C | POSIX) export LC_ALL=C.UTF-8 ;;
esac
# shellcheck disable=SC2086 # options are split at blanks
exec "$here/jre/bin/java" --module-path "$here/jars" --add-modules jdk.incubator.vector,ALL-MODULE-PATH \
    --enable-native-access=dev.espalier.natives,dev.espalier.kernels \
    -XX:+UseParallelGC -XX:MaxRAMPercentage=50 -XX:PerMethodTrapLimit=100000 -Despalier.commit="$(cat "$here/commit")" \
    ${ESPALIER_JAVA_OPTS:-} -m dev.espalier.tools/dev.espalier.tools.Espalier "$@"
LAUNCHER
chmod +x "$image/bin/espalier"

tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner -cf - espalier | xz -9 >"$work/archive"
bytes=$(wc -c <"$work/archive")
if [ "$bytes" -ge 40000000 ]; then
    echo "gpu_archive.sh: $bytes bytes, which is 40 MB or more" >&2
    exit 1
fi
mv "$work/archive" "$out"
echo "$out: $bytes bytes" >&2
