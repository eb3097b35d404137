/* What may be found in libipc's place: ABI is the version it says it has; without it, another project's library. */
#ifdef ABI
unsigned ipc_abi_version(void) { return ABI; }
const char *ipc_version(void) { return "a fake"; }
#else
int cpp_ipc(void) { return 0; }
#endif
