# Completions of roundel for bash, as `roundel --generate bash` prints them.
_roundel() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    COMPREPLY=()
    # To bash, the = of --log=info is a word of its own.
    if [[ $word == '=' ]]; then
        word=
    elif [[ $before == '=' ]]; then
        before=${COMP_WORDS[COMP_CWORD-2]}
    fi
    case $before in
        -c | --config)
            compopt -o filenames 2>/dev/null
            local IFS=$'\n'
            COMPREPLY=($(compgen -f -- "$word"))
            return
            ;;
        --ca)
            compopt -o filenames 2>/dev/null
            local IFS=$'\n'
            COMPREPLY=($(compgen -f -- "$word"))
            return
            ;;
        --balance)
            COMPREPLY=($(compgen -W 'round-robin' -- "$word"))
            return
            ;;
        --access-log)
            compopt -o filenames 2>/dev/null
            local IFS=$'\n'
            COMPREPLY=($(compgen -f -- "$word"))
            return
            ;;
        --access-log-format)
            COMPREPLY=($(compgen -W 'text json combined' -- "$word"))
            return
            ;;
        --log)
            COMPREPLY=($(compgen -W 'off error warn info debug trace' -- "$word"))
            return
            ;;
        --generate)
            COMPREPLY=($(compgen -W 'man bash zsh fish' -- "$word"))
            return
            ;;
        -l | --listen | \
        --trust | \
        --head-timeout | \
        --body-timeout | \
        --body-rate | \
        --max-body | \
        --idle-timeout | \
        --max-conns | \
        --connect-timeout | \
        --tls-timeout | \
        --retry-timeout | \
        --timeout | \
        --response-timeout | \
        --tunnel-timeout | \
        --half-closed-timeout | \
        --pool-timeout | \
        --max-conns-per-backend | \
        --queue-timeout | \
        --queue-max | \
        --health | \
        --health-interval | \
        --health-timeout | \
        --splice | \
        --drain-delay | \
        --drain-timeout | \
        --admin)
            return
            ;;
    esac
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W '
            -c
            --config
            --check
            -l
            --listen
            --ca
            --trust
            --balance
            --head-timeout
            --body-timeout
            --body-rate
            --max-body
            --idle-timeout
            --max-conns
            --connect-timeout
            --tls-timeout
            --retry-timeout
            --timeout
            --response-timeout
            --tunnel-timeout
            --half-closed-timeout
            --pool-timeout
            --max-conns-per-backend
            --queue-timeout
            --queue-max
            --health
            --health-interval
            --health-timeout
            --splice
            --drain-delay
            --drain-timeout
            --access-log
            --access-log-format
            --admin
            --server-timing
            --log
            --demo
            --generate
            -h
            --help
            -V
            --version' -- "$word"))
    elif ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W 'doctor' -- "$word"))
    fi
}
complete -F _roundel roundel
