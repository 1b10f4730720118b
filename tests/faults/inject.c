// SPDX-License-Identifier: Apache-2.0
/*
 * inject: a library for LD_PRELOAD that makes calls of the daemon fail, so that the daemon itself needs no
 * code for it.
 *
 * PHX_FAULTS names a file that the test made and maps too: a table with one row a kind of call. A row says
 * which calls fail and with what error, and counts the calls and the failures, so that a test knows that its
 * fault did happen. With no row armed everything passes through.
 *
 * Calls of libc are wrapped. Operations of io_uring are changed on their way into the kernel: the entry
 * becomes a NOP, and the result in its completion is replaced by the error, or its length is cut, so that it
 * moves fewer bytes than asked for. Nothing else of an operation is touched, so no byte is ever lost by it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* The order is the table's: tests/e2e/test_faults.py has the same list. */
enum kind {
	MEMORY, /* malloc, calloc, realloc, aligned_alloc, posix_memalign */
	MMAP,
	SOCKET,
	SETSOCKOPT,
	GETPEERNAME,
	EVENTFD,
	THREAD,
	OPEN,
	FSYNC,
	RENAME,
	FILE_WRITE, /* write(2) to a regular file */
	SETRLIMIT,
	ENTER, /* io_uring_enter as a whole */
	OP_ACCEPT,
	OP_CONNECT,
	OP_RECV,
	NO_BUFFERS, /* receives that take their buffer from the ring's */
	OP_SEND,
	OP_READ,
	SHORT_RECV, /* moves at most `error` bytes */
	SHORT_SEND,
	KINDS,
};

enum mode {
	OFF,
	ONCE,  /* the n-th call */
	EVERY, /* each n-th */
	FROM,  /* the n-th and all after it */
	SHARE, /* one in n, by chance */
	UNTIL, /* the first n */
};

enum threads { ALL, WORKERS, OTHERS };

struct row {
	_Atomic uint32_t mode;
	uint32_t n;
	uint32_t error;
	uint32_t threads;
	uint32_t seed;
	uint32_t min_bytes; /* MEMORY: smaller ones pass */
	_Atomic uint32_t calls;
	_Atomic uint32_t failed;
};

static struct row *table;

static bool in_worker(void)
{
	static __thread int cached; /* 0 not known, 1 other, 2 worker */
	static __thread unsigned looked;
	if (cached != 2 && looked++ % 64 == 0) {
		char name[16] = "";
		prctl(PR_GET_NAME, name);
		cached = strncmp(name, "phx-worker-", 11) == 0 ? 2 : 1;
	}
	return cached == 2;
}

static uint32_t mix(uint32_t x)
{
	x = (x ^ x >> 16) * 0x7feb352du;
	x = (x ^ x >> 15) * 0x846ca68bu;
	return x ^ x >> 16;
}

/* The error that this call is to fail with, 0 to let it pass. */
static uint32_t fault(enum kind kind)
{
	if (!table || !atomic_load_explicit(&table[kind].mode, memory_order_acquire))
		return 0;
	struct row *row = &table[kind];
	if (row->threads != ALL && (row->threads == WORKERS) != in_worker())
		return 0;
	uint32_t call = atomic_fetch_add(&row->calls, 1) + 1;
	bool hit = false;
	switch (atomic_load(&row->mode)) {
	case ONCE:
		hit = call == row->n;
		break;
	case EVERY:
		hit = call % row->n == 0;
		break;
	case FROM:
		hit = call >= row->n;
		break;
	case SHARE:
		hit = mix(call ^ mix(row->seed)) % row->n == 0;
		break;
	case UNTIL:
		hit = call <= row->n;
		break;
	}
	if (!hit)
		return 0;
	atomic_fetch_add(&row->failed, 1);
	return row->error;
}

__attribute__((constructor)) static void attach(void)
{
	const char *path = getenv("PHX_FAULTS");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	if (fd < 0)
		return;
	void *memory = mmap(NULL, KINDS * sizeof(*table), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (memory != MAP_FAILED)
		table = memory;
}

/* --- memory ----------------------------------------------------------------------------------------------
 */

/* The allocator behind: a sanitizer's when the daemon has one, else libc's. Both are known by name, since
 * dlsym() itself allocates. */
#define BEHIND(name, libc_name, type, parameters)                                                            \
	extern type __interceptor_##name parameters __attribute__((weak));                                   \
	extern type libc_name parameters

BEHIND(malloc, __libc_malloc, void *, (size_t));
BEHIND(calloc, __libc_calloc, void *, (size_t, size_t));
BEHIND(realloc, __libc_realloc, void *, (void *, size_t));
BEHIND(aligned_alloc, __libc_memalign, void *, (size_t, size_t));
BEHIND(free, __libc_free, void, (void *));

static bool no_memory(size_t size)
{
	if (!table || size < table[MEMORY].min_bytes)
		return false;
	uint32_t error = fault(MEMORY);
	if (error)
		errno = (int)error;
	return error;
}

void *malloc(size_t size)
{
	if (no_memory(size))
		return NULL;
	return __interceptor_malloc ? __interceptor_malloc(size) : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	if (no_memory(count * size))
		return NULL;
	return __interceptor_calloc ? __interceptor_calloc(count, size) : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	if (no_memory(size))
		return NULL;
	return __interceptor_realloc ? __interceptor_realloc(old, size) : __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	if (no_memory(size))
		return NULL;
	return __interceptor_aligned_alloc ? __interceptor_aligned_alloc(alignment, size)
					   : __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
	void *p = aligned_alloc(alignment, size);
	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}

void free(void *p)
{
	if (__interceptor_free)
		__interceptor_free(p);
	else
		__libc_free(p);
}

#define REAL(name)                                                                                           \
	static __typeof__(&name) real;                                                                       \
	if (!real)                                                                                           \
	real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* --- system calls ----------------------------------------------------------------------------------------
 */

#define FAIL_WITH(kind, result)                                                                              \
	do {                                                                                                 \
		uint32_t error = fault(kind);                                                                \
		if (error) {                                                                                 \
			errno = (int)error;                                                                  \
			return result;                                                                       \
		}                                                                                            \
	} while (0)

void *mmap(void *address, size_t len, int protection, int flags, int fd, off_t offset)
{
	REAL(mmap);
	FAIL_WITH(MMAP, MAP_FAILED);
	return real(address, len, protection, flags, fd, offset);
}

int socket(int domain, int type, int protocol)
{
	REAL(socket);
	FAIL_WITH(SOCKET, -1);
	return real(domain, type, protocol);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	REAL(setsockopt);
	FAIL_WITH(SETSOCKOPT, -1);
	return real(fd, level, name, value, len);
}

int getpeername(int fd, struct sockaddr *restrict address, socklen_t *restrict len)
{
	static int (*real)(int, struct sockaddr *restrict, socklen_t *restrict);
	if (!real)
		real = (int (*)(int, struct sockaddr *restrict, socklen_t *restrict))dlsym(RTLD_NEXT,
											   "getpeername");
	FAIL_WITH(GETPEERNAME, -1);
	return real(fd, address, len);
}

int eventfd(unsigned initial, int flags)
{
	REAL(eventfd);
	FAIL_WITH(EVENTFD, -1);
	return real(initial, flags);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument)
{
	REAL(pthread_create);
	uint32_t error = fault(THREAD);
	return error ? (int)error : real(thread, attributes, run, argument);
}

int open(const char *path, int flags, ...)
{
	REAL(open);
	va_list args;
	va_start(args, flags);
	mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
	va_end(args);
	FAIL_WITH(OPEN, -1);
	return real(path, flags, mode);
}

int openat(int directory, const char *path, int flags, ...)
{
	REAL(openat);
	va_list args;
	va_start(args, flags);
	mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
	va_end(args);
	FAIL_WITH(OPEN, -1);
	return real(directory, path, flags, mode);
}

int fsync(int fd)
{
	REAL(fsync);
	FAIL_WITH(FSYNC, -1);
	return real(fd);
}

int fdatasync(int fd)
{
	REAL(fdatasync);
	FAIL_WITH(FSYNC, -1);
	return real(fd);
}

int rename(const char *from, const char *to)
{
	REAL(rename);
	FAIL_WITH(RENAME, -1);
	return real(from, to);
}

int renameat(int from_directory, const char *from, int to_directory, const char *to)
{
	REAL(renameat);
	FAIL_WITH(RENAME, -1);
	return real(from_directory, from, to_directory, to);
}

ssize_t write(int fd, const void *data, size_t len)
{
	REAL(write);
	struct stat status;
	/* The log (a file under test) is nobody's promise. */
	if (table && fd > 2 && atomic_load(&table[FILE_WRITE].mode) && fstat(fd, &status) == 0 &&
	    S_ISREG(status.st_mode))
		FAIL_WITH(FILE_WRITE, -1);
	return real(fd, data, len);
}

int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
	static int (*real)(__rlimit_resource_t, const struct rlimit *);
	if (!real)
		real = (int (*)(__rlimit_resource_t, const struct rlimit *))dlsym(RTLD_NEXT, "setrlimit");
	FAIL_WITH(SETRLIMIT, -1);
	return real(resource, limit);
}

/* --- io_uring --------------------------------------------------------------------------------------------
 */

#define PENDING_MAX 4096

/* Operations of this thread's ring that became NOPs, and what their completions are to say. */
static __thread struct {
	uint64_t user_data;
	int res;
} * pending;
static __thread unsigned pending_count;

static bool pending_add(uint64_t user_data, uint32_t error)
{
	if (!pending)
		pending = mmap(NULL, PENDING_MAX * sizeof(*pending), PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if ((void *)pending == MAP_FAILED || pending_count == PENDING_MAX)
		return false;
	pending[pending_count].user_data = user_data;
	pending[pending_count++].res = -(int)error;
	return true;
}

static void fail_entry(struct io_uring_sqe *sqe, enum kind kind)
{
	uint32_t error = fault(kind);
	if (!error || !pending_add(sqe->user_data, error))
		return;
	uint64_t user_data = sqe->user_data;
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_NOP;
	sqe->fd = -1;
	sqe->user_data = user_data;
}

static void cut_entry(struct io_uring_sqe *sqe, enum kind kind)
{
	uint32_t most = fault(kind);
	if (most && sqe->len > most)
		sqe->len = most;
}

static void change_entries(struct io_uring *ring)
{
	for (unsigned at = ring->sq.sqe_head; at != ring->sq.sqe_tail; at++) {
		struct io_uring_sqe *sqe = &ring->sq.sqes[at & *ring->sq.kring_mask];
		switch (sqe->opcode) {
		case IORING_OP_ACCEPT:
			fail_entry(sqe, OP_ACCEPT);
			break;
		case IORING_OP_CONNECT:
			fail_entry(sqe, OP_CONNECT);
			break;
		case IORING_OP_RECV:
			cut_entry(sqe, SHORT_RECV);
			fail_entry(sqe, sqe->flags & IOSQE_BUFFER_SELECT ? NO_BUFFERS : OP_RECV);
			if (sqe->opcode == IORING_OP_RECV && sqe->flags & IOSQE_BUFFER_SELECT)
				fail_entry(sqe, OP_RECV);
			break;
		case IORING_OP_SEND:
			cut_entry(sqe, SHORT_SEND);
			fail_entry(sqe, OP_SEND);
			break;
		case IORING_OP_SENDMSG:
			fail_entry(sqe, OP_SEND);
			break;
		case IORING_OP_READ:
			fail_entry(sqe, OP_READ);
			break;
		}
	}
}

static void change_completions(struct io_uring *ring)
{
	unsigned head;
	struct io_uring_cqe *cqe;
	if (!pending_count)
		return;
	io_uring_for_each_cqe(ring, head, cqe)
	{
		for (unsigned i = 0; i < pending_count; i++) {
			if (pending[i].user_data != cqe->user_data)
				continue;
			cqe->res = pending[i].res;
			pending[i] = pending[--pending_count];
			break;
		}
	}
}

int io_uring_submit(struct io_uring *ring)
{
	REAL(io_uring_submit);
	uint32_t error = fault(ENTER);
	if (error)
		return -(int)error;
	change_entries(ring);
	int res = real(ring);
	change_completions(ring);
	return res;
}

int io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe, unsigned wait_nr,
				     struct __kernel_timespec *timeout, sigset_t *mask)
{
	REAL(io_uring_submit_and_wait_timeout);
	uint32_t error = fault(ENTER);
	if (error)
		return -(int)error;
	change_entries(ring);
	int res = real(ring, cqe, wait_nr, timeout, mask);
	change_completions(ring);
	return res;
}
