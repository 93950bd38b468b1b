# Sourced by ./mvnw and ./espalier: finds a JDK 25, from 25.0.3 on (earlier ones have a garbage-collector fault that can
# corrupt pinned arrays, JDK-8377811). POSIX sh; starts no JVM: a JDK says its version in its `release` file.
#
# find_jdk sets JAVA_HOME and exports it, or prints one line that names where it looked, and returns 2.

# The version of the JDK at $1; nothing if there is no JDK.
jdk_version() {
    [ -x "$1/bin/java" ] && [ -x "$1/bin/javac" ] && [ -r "$1/release" ] || return 1
    sed -n 's/^JAVA_VERSION="\([0-9][0-9.]*\).*/\1/p' "$1/release"
}

# True if the JDK at $1 is one that we can use; otherwise remembers what is wrong with it in jdk_passed_over.
jdk_usable() {
    jdk_found=$(jdk_version "$1") || return 1
    case $jdk_found in
        25.0.[3-9] | 25.0.[3-9].* | 25.0.[1-9][0-9]* | 25.[1-9]*) return 0 ;;
    esac
    case $jdk_passed_over in
        *" $1 is "*) ;;
        *) jdk_passed_over="$jdk_passed_over $1 is ${jdk_found:-of no known version};" ;;
    esac
    return 1
}

# The home of the `java` on the PATH, through whatever links lead to it.
jdk_on_path() {
    jdk_java=$(command -v java) || return 1
    while [ -L "$jdk_java" ]; do
        jdk_link=$(readlink "$jdk_java") || return 1
        case $jdk_link in
            /*) jdk_java=$jdk_link ;;
            *) jdk_java=$(dirname "$jdk_java")/$jdk_link ;;
        esac
    done
    (cd -P "$(dirname "$jdk_java")/.." 2>/dev/null && pwd)
}

# Looks into each JDK folder below the folder $1, also where macOS puts it (Contents/Home).
jdk_below() {
    for jdk_home in "$1"/* "$1"/*/Contents/Home "$1"/*/libexec/openjdk.jdk/Contents/Home; do
        if jdk_usable "$jdk_home"; then
            jdk_take "$jdk_home"
            return 0
        fi
    done
    return 1
}

jdk_take() {
    JAVA_HOME=$1
    export JAVA_HOME
    if [ -n "${ESPALIER_JAVA_HOME:-}" ] && [ "$ESPALIER_JAVA_HOME" != "$1" ]; then
        echo "espalier: ESPALIER_JAVA_HOME is passed over, $ESPALIER_JAVA_HOME holds no JDK 25 from 25.0.3 on; $1 is used" >&2
    fi
}

find_jdk() {
    jdk_passed_over=
    jdk_looked=
    for jdk_variable in ESPALIER_JAVA_HOME JAVA_HOME; do
        eval "jdk_home=\${$jdk_variable:-}"
        if [ -n "$jdk_home" ]; then
            jdk_looked="$jdk_looked$jdk_variable, "
            if jdk_usable "$jdk_home"; then
                jdk_take "$jdk_home"
                return 0
            fi
        fi
    done
    if jdk_home=$(jdk_on_path) && jdk_usable "$jdk_home"; then
        jdk_take "$jdk_home"
        return 0
    fi
    # Folders that hold JDKs, separated by colons; ESPALIER_JDK_FOLDERS replaces the usual ones.
    jdk_user=${HOME:-/nonexistent}
    jdk_folders=${ESPALIER_JDK_FOLDERS-/usr/lib/jvm:/usr/lib64/jvm:/usr/java:/usr/local/java:/opt:/opt/java:/opt/jdk:\
/Library/Java/JavaVirtualMachines:$jdk_user/Library/Java/JavaVirtualMachines:/opt/homebrew/opt:/usr/local/opt:\
$jdk_user/.sdkman/candidates/java:$jdk_user/.jdks:$jdk_user/.gradle/jdks:$jdk_user/.asdf/installs/java:\
$jdk_user/.local/share/mise/installs/java}
    jdk_ifs=$IFS
    IFS=:
    set -f
    # shellcheck disable=SC2086 # split at the colons
    set -- $jdk_folders
    set +f
    IFS=$jdk_ifs
    for jdk_folder; do
        if [ -d "$jdk_folder" ] && jdk_below "$jdk_folder"; then
            return 0
        fi
    done
    echo "espalier: no JDK 25 (25.0.3 or newer) found; looked at ${jdk_looked}the PATH and the JDK folders $jdk_folders;${jdk_passed_over}" \
        "install one, or set ESPALIER_JAVA_HOME to it" >&2
    return 2
}
