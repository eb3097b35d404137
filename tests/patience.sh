# Sourced by tests, and by julia/demo.sh: seconds that a wait may take, by how busy the machine is; see patience.hpp.
patience=$(awk -v processors="$(nproc)" '{
    running = $4 + 0
    print 30 * (1 + int(($1 > running ? $1 : running) / processors))
}' /proc/loadavg)
