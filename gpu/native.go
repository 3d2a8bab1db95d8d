package gpu

/*
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The part of webgpu.h that the binding offers only with callbacks into Go
// memory, with allocations for each call, or not at all. The binding's package
// links the library.
extern void wgpuBufferMapAsync(void *buffer, uint32_t mode, size_t offset, size_t size, void (*callback)(int, void *), void *userdata);
extern void const *wgpuBufferGetConstMappedRange(void *buffer, size_t offset, size_t size);
extern void *wgpuBufferGetMappedRange(void *buffer, size_t offset, size_t size);
extern void wgpuBufferUnmap(void *buffer);
extern void wgpuQueueOnSubmittedWorkDone(void *queue, void (*callback)(int, void *), void *userdata);
extern void wgpuQueueWriteBuffer(void *queue, void *buffer, uint64_t offset, void const *data, size_t size);
extern void wgpuCommandEncoderCopyBufferToBuffer(void *encoder, void *src, uint64_t src_offset, void *dst, uint64_t dst_offset, uint64_t size);
extern void wgpuDeviceSetUncapturedErrorCallback(void *device, void (*callback)(int, char const *, void *), void *userdata);

// fence is what a callback reports to. Callbacks only run inside calls on the
// device, which its lock keeps apart.
typedef struct {
	bool done;
	int status;
} fence;

static void fence_done(int status, void *userdata) {
	fence *f = userdata;
	f->status = status;
	f->done = true;
}

static void fence_map(fence *f, void *buffer, uint32_t mode, size_t size) {
	wgpuBufferMapAsync(buffer, mode, 0, size, fence_done, f);
}

static void fence_queue(fence *f, void *queue) {
	wgpuQueueOnSubmittedWorkDone(queue, fence_done, f);
}

static bool copy_mapped(void *dst, void *buffer, size_t offset, size_t size) {
	void const *src = wgpuBufferGetConstMappedRange(buffer, offset, size);
	if (src == NULL) {
		return false;
	}
	memcpy(dst, src, size);
	return true;
}

static bool fill_mapped(void *buffer, void const *src, size_t size) {
	void *dst = wgpuBufferGetMappedRange(buffer, 0, size);
	if (dst == NULL) {
		return false;
	}
	memcpy(dst, src, size);
	return true;
}

// fault keeps the first error that no error scope caught; without a callback
// the library aborts the process.
typedef struct {
	bool set;
	char message[1024];
} fault;

static void fault_set(int type, char const *message, void *userdata) {
	fault *f = userdata;
	if (!f->set) {
		f->set = true;
		snprintf(f->message, sizeof f->message, "%s", message);
	}
}

static void fault_watch(fault *f, void *device) {
	wgpuDeviceSetUncapturedErrorCallback(device, fault_set, f);
}
*/
import "C"

import (
	"errors"
	"fmt"
	"reflect"
	"unsafe"

	"github.com/rajveermalviya/go-webgpu/wgpu"
)

// handle is the C object behind one of the binding's structs.
func handle(object any) unsafe.Pointer {
	return reflect.ValueOf(object).Elem().FieldByName("ref").UnsafePointer()
}

// fence tells when work that was given to the GPU is done. It lies in C memory:
// the library keeps its address across garbage collections.
type fence struct{ c *C.fence }

func newFence() fence { return fence{(*C.fence)(C.calloc(1, C.sizeof_fence))} }

// queueFence is done when everything submitted so far is.
func queueFence(q *wgpu.Queue) fence {
	f := newFence()
	C.fence_queue(f.c, handle(q))
	return f
}

// The modes of mapFence, as webgpu.h has them.
const (
	mapRead  = 1
	mapWrite = 2
)

// mapFence is done when the first size bytes of b are mapped.
func mapFence(b *wgpu.Buffer, mode uint32, size int64) fence {
	f := newFence()
	C.fence_map(f.c, handle(b), C.uint32_t(mode), C.size_t(size))
	return f
}

func (f fence) done() bool { return bool(f.c.done) }

// finish frees a fence that is done.
func (f fence) finish() error {
	status := f.c.status
	C.free(unsafe.Pointer(f.c))
	if status != 0 {
		return fmt.Errorf("the device gave up work it was given (status %d)", status)
	}
	return nil
}

// copyMapped fills dst from a mapped buffer.
func copyMapped(dst []byte, b *wgpu.Buffer, offset int64) error {
	if len(dst) == 0 {
		return nil
	}
	if !C.copy_mapped(unsafe.Pointer(&dst[0]), handle(b), C.size_t(offset), C.size_t(len(dst))) {
		return errMapped
	}
	return nil
}

// fillMapped copies src to the beginning of a buffer that is mapped for writing.
func fillMapped(b *wgpu.Buffer, src []byte) error {
	if !C.fill_mapped(handle(b), unsafe.Pointer(unsafe.SliceData(src)), C.size_t(len(src))) {
		return errMapped
	}
	return nil
}

var errMapped = errors.New("the mapped range is out of bounds")

// writeBuffer uploads data. Mistakes are faults.
func writeBuffer(q *wgpu.Queue, dst *wgpu.Buffer, offset int64, data []byte) {
	C.wgpuQueueWriteBuffer(handle(q), handle(dst), C.uint64_t(offset), unsafe.Pointer(unsafe.SliceData(data)), C.size_t(len(data)))
}

// copyBuffer encodes a copy of size bytes. Mistakes are faults.
func copyBuffer(e *wgpu.CommandEncoder, src *wgpu.Buffer, srcOffset int64, dst *wgpu.Buffer, dstOffset, size int64) {
	C.wgpuCommandEncoderCopyBufferToBuffer(handle(e), handle(src), C.uint64_t(srcOffset), handle(dst), C.uint64_t(dstOffset), C.uint64_t(size))
}

func unmap(b *wgpu.Buffer) { C.wgpuBufferUnmap(handle(b)) }

// fault collects the errors that no error scope catches: out of memory, internal.
type fault struct{ c *C.fault }

func watch(d *wgpu.Device) fault {
	f := fault{(*C.fault)(C.calloc(1, C.sizeof_fault))}
	C.fault_watch(f.c, handle(d))
	return f
}

// pop returns the first error since the last pop.
func (f fault) pop() error {
	if !f.c.set {
		return nil
	}
	f.c.set = false
	return errors.New(reason(C.GoString(&f.c.message[0])))
}

func (f fault) free() { C.free(unsafe.Pointer(f.c)) }
