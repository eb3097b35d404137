extern "C" __attribute__((visibility("default"))) int part() { return 1; }
