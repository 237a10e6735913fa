/* Lets user-mode Linux run on processors with AMX.
 *
 * The kernel takes the extended registers of a traced process only whole (xstateregs_set() in
 * arch/x86/kernel/fpu/regset.c: "A whole standard-format XSAVE buffer is needed"), and with AMX that
 * is more than user-mode Linux before 6.10 has room for: what it read back in part it cannot write,
 * and its first process dies.  Preloaded, this reads and writes the rest along with its part.
 *
 * Thread-safety: none is needed; user-mode Linux traces from one thread.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

enum { kWhole = 16 << 10 };  /* bytes; 11008 with AMX */

long ptrace(enum __ptrace_request request, ...) {
  static long (*real)(enum __ptrace_request, ...);
  if (real == NULL) {
    *(void**)&real = dlsym(RTLD_NEXT, "ptrace");
  }
  va_list arguments;
  va_start(arguments, request);
  const int process = va_arg(arguments, int);
  void* const address = va_arg(arguments, void*);
  void* const data = va_arg(arguments, void*);
  va_end(arguments);
  if ((request != PTRACE_GETREGSET && request != PTRACE_SETREGSET) ||
      (long)address != NT_X86_XSTATE) {
    return real(request, process, address, data);
  }
  struct iovec* const part = data;
  static _Alignas(64) char whole[kWhole];
  struct iovec all = {whole, sizeof(whole)};
  const long read = real(PTRACE_GETREGSET, process, address, &all);
  if (read != 0) {
    return read;
  }
  if (part->iov_len > all.iov_len) {
    part->iov_len = all.iov_len;
  }
  if (request == PTRACE_GETREGSET) {
    memcpy(part->iov_base, whole, part->iov_len);
    return 0;
  }
  memcpy(whole, part->iov_base, part->iov_len);
  return real(PTRACE_SETREGSET, process, address, &all);
}
