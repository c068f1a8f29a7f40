# bash completion for raftctl: the program itself says what can follow.

_raftctl() {
    local line prefix='' breaks current words
    # Words as they were typed: bash breaks them at characters that names of units have.
    read -ra words <<<"${COMP_LINE:0:COMP_POINT}"
    [[ ${COMP_LINE:0:COMP_POINT} == *[[:space:]] ]] && words+=('')
    current=${words[-1]}
    # It replaces only what comes after the last such character.
    breaks=${COMP_WORDBREAKS//[^=@:]/}
    [[ -n $breaks ]] && prefix=${current%"${current##*[$breaks]}"}
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            :files) mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "${current#"$prefix"}")
                compopt -o filenames 2>/dev/null ;;
            :directories) mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -d -- "${current#"$prefix"}")
                compopt -o filenames 2>/dev/null ;;
            *) line=${line%%$'\t'*}
                COMPREPLY+=("${line#"$prefix"}") ;;
        esac
    done < <("$1" __complete -- "${words[@]}" 2>/dev/null)
}

complete -F _raftctl raftctl
