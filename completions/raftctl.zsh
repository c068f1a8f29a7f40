#compdef raftctl
# zsh completion for raftctl: the program itself says what can follow.

_raftctl() {
    local line
    local -a values
    for line in "${(@f)$("${words[1]}" __complete -- "${(@)words[1,CURRENT]}" 2>/dev/null)}"; do
        case $line in
            '') ;;
            :files) _files ;;
            :directories) _files -/ ;;
            *) values+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}") ;;
        esac
    done
    (( ${#values} )) && _describe -t values raftctl values
}

_raftctl "$@"
