/* A libuv that a program brings along, as Julia does: of another version, and not to be called by the library. */
#include <stddef.h>
#include <stdlib.h>

unsigned uv_version(void) { return 2u << 16; }
const char *uv_version_string(void) { return "2.0.0-dev"; }
size_t uv_loop_size(void) { return 1072; }
size_t uv_handle_size(int type) { return type > 0 ? 160 : 0; }

void uv_loop_init(void) { abort(); }
void uv_loop_close(void) { abort(); }
void uv_loop_fork(void) { abort(); }
void uv_loop_alive(void) { abort(); }
void uv_run(void) { abort(); }
void uv_backend_fd(void) { abort(); }
void uv_backend_timeout(void) { abort(); }
void uv_close(void) { abort(); }
void uv_poll_init(void) { abort(); }
void uv_poll_start(void) { abort(); }
void uv_poll_stop(void) { abort(); }

/* libuv calls these itself. */
void uv_mutex_init(void) { abort(); }
void uv_rwlock_init(void) { abort(); }
void uv_once(void) { abort(); }
void uv_signal_init(void) { abort(); }
