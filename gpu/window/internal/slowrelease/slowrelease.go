//go:build glfw && linux

// Package slowrelease lets a test see while the WebGPU library releases objects.
// The linker puts it between the binding and the library, in those test binaries
// only that import it.
package slowrelease

/*
#cgo LDFLAGS: -Wl,--wrap=wgpuTextureViewRelease -Wl,--wrap=wgpuTextureRelease -Wl,--wrap=wgpuBindGroupRelease
#include <stdatomic.h>
#include <unistd.h>

static atomic_int in_progress;

static int releases_in_progress(void) { return atomic_load(&in_progress); }

// A release takes so long that whoever must wait for it shows whether it does.
#define SLOW(name)                           \
	extern void __real_##name(void *object); \
	void __wrap_##name(void *object) {       \
		atomic_fetch_add(&in_progress, 1);   \
		usleep(2000);                        \
		__real_##name(object);               \
		atomic_fetch_sub(&in_progress, 1);   \
	}

SLOW(wgpuTextureViewRelease)
SLOW(wgpuTextureRelease)
SLOW(wgpuBindGroupRelease)
*/
import "C"

// InProgress is how many releases have begun and not ended.
func InProgress() int { return int(C.releases_in_progress()) }
