// Copyright 2026 The tf_embedding Authors.
// SPDX-License-Identifier: Apache-2.0

// File-system faults for tests of saving: preloaded, it stands before the C
// library's calls that TensorFlow writes files with. Armed, it counts those
// calls and the bytes handed to fwrite, and at a given count ends the process,
// as SIGKILL does, or lets the call fail. A fwrite that it ends has written, and
// flushed, what comes before that byte.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KILL = -1 };  // else an errno

static long calls_left = -1, bytes_left = -1;
static long calls_seen, bytes_seen;
static int fault;
static char only[16];  // the one call that counts; empty: all do

// Ends the process, or returns the errno, once calls or bytes are used up. A
// negative count never is.
void arm_faults(long calls, long bytes, int what, const char* call) {
  calls_left = calls;
  bytes_left = bytes;
  fault = what;
  strncpy(only, call, sizeof(only) - 1);
  calls_seen = bytes_seen = 0;
}

long count_calls(void) { return calls_seen; }
long count_bytes(void) { return bytes_seen; }

static int strike(void) {
  if (fault == KILL) raise(SIGKILL);
  errno = fault;
  return 1;
}

static int due(const char* call) {
  if (only[0] != 0 && strcmp(only, call) != 0) return 0;
  ++calls_seen;
  return calls_left >= 0 && calls_seen > calls_left && strike();
}

#define REAL(name)                                     \
  static __typeof__(name)* real;                       \
  if (real == NULL) real = (__typeof__(name)*)dlsym(RTLD_NEXT, #name)

size_t fwrite(const void* data, size_t size, size_t n, FILE* file) {
  REAL(fwrite);
  if (file == stderr || file == stdout) return real(data, size, n, file);
  if (due("fwrite")) return 0;
  const long bytes = (long)(size * n);
  if (bytes_left >= 0 && bytes_seen + bytes > bytes_left) {
    const long before = bytes_left > bytes_seen ? bytes_left - bytes_seen : 0;
    real(data, 1, (size_t)before, file);
    fflush(file);
    bytes_seen += bytes;
    strike();
    return (size_t)before / size;
  }
  bytes_seen += bytes;
  return real(data, size, n, file);
}

static int writes(int flags) { return (flags & (O_WRONLY | O_RDWR)) != 0; }

int open(const char* path, int flags, ...) {
  REAL(open);
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return writes(flags) && due("open") ? -1 : real(path, flags, mode);
}
int open64(const char* path, int flags, ...) {
  REAL(open64);
  va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return writes(flags) && due("open") ? -1 : real(path, flags, mode);
}
FILE* fopen(const char* path, const char* mode) {
  REAL(fopen);
  return mode[0] != 'r' && due("open") ? NULL : real(path, mode);
}
int fclose(FILE* file) {
  REAL(fclose);
  return due("fclose") ? EOF : real(file);
}
int fflush(FILE* file) {
  REAL(fflush);
  if (file == stderr || file == stdout || file == NULL) return real(file);
  return due("fflush") ? EOF : real(file);
}
int fsync(int file) {
  REAL(fsync);
  return due("fsync") ? -1 : real(file);
}
int rename(const char* from, const char* to) {
  REAL(rename);
  return due("rename") ? -1 : real(from, to);
}
int mkdir(const char* path, mode_t mode) {
  REAL(mkdir);
  return due("mkdir") ? -1 : real(path, mode);
}
int rmdir(const char* path) {
  REAL(rmdir);
  return due("rmdir") ? -1 : real(path);
}
int unlink(const char* path) {
  REAL(unlink);
  return due("unlink") ? -1 : real(path);
}
