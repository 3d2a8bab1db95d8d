package gpu

import (
	"context"
	"fmt"
	"time"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/await"
	"github.com/clip-wgpu/clip-wgpu/internal/debug"
)

// Device is a handle of an open GPU. Several users may share one by Retain.
type Device struct {
	core   *core
	closed bool // under core.calls
}

// core is the GPU that handles, stores and sessions share.
type core struct {
	instance *wgpu.Instance
	adapter  *wgpu.Adapter
	device   *wgpu.Device
	queue    *wgpu.Queue
	faults   fault
	info     Info
	options  Options
	target   graph.Target // never changes, as States lie as it says
	debug    debug.Switch

	run   await.Lock // one caller at a time uploads, records and submits; taken before calls
	depth int        // submissions that may be in flight, but for uploads

	calls         await.Lock     // around all calls of the library, whose error scopes are one stack a device
	flight        []submission   // what the GPU has and may not have finished, oldest first
	began         time.Time      // when the GPU began with the first of them
	staging       []*buffer      // free buffers for submissions that read back
	uploads       []*wgpu.Buffer // free buffers, mapped, that large writes go through
	uploadBuffers int            // all of these
	refs          int
	used          int64 // bytes of all buffers
	pipelines     map[string]*pipeline
	pool          []*buffer // activations, shared by all sessions
	unread        *buffer   // bound where a kernel's input is absent
	unwritten     *buffer   // bound, in ranges of their own, where its outputs are
	lost          error     // why there are no calls any more
}

func (c *core) open() error {
	var descriptor wgpu.DeviceDescriptor
	limits := wgpu.DefaultLimits()
	if c.options.DefaultLimits {
		c.info.Timestamps = false
	} else {
		limits = c.adapter.GetLimits().Limits
		limits.MaxBufferSize = min(limits.MaxBufferSize, unlimited) // 2⁶⁴ − 1 would ask for WebGPU's default
	}
	if n := c.options.MaxBinding; n > 0 {
		limits.MaxStorageBufferBindingSize = min(limits.MaxStorageBufferBindingSize, uint64(n))
	}
	if c.info.Timestamps {
		descriptor.RequiredFeatures = []wgpu.FeatureName{wgpu.FeatureName_TimestampQuery}
	}
	descriptor.RequiredLimits = &wgpu.RequiredLimits{Limits: limits}
	device, err := c.adapter.RequestDevice(&descriptor)
	if err != nil {
		return fmt.Errorf("the adapter gives no device: %w", err)
	}
	c.device = device
	c.faults = watch(device)
	c.queue = device.GetQueue()
	c.info = c.info.withLimits(device.GetLimits().Limits)
	c.target = c.info.Target()
	c.target.MaxBinding -= c.guard()
	c.target.Arrangement = c.options.Arrangement // so far one suits all kinds of devices: the zero one
	return c.call(context.Background(), func() error {
		if c.unread, err = c.newBuffer("absent inputs", absentBytes, storageUsage); err != nil {
			return err
		}
		if c.unwritten, err = c.newBuffer("absent outputs", maxAbsent*absentBytes, storageUsage); err != nil {
			return err
		}
		for len(c.staging) < c.depth {
			b, err := c.newBuffer("readback", c.stagingSize(), wgpu.BufferUsage_MapRead|wgpu.BufferUsage_CopyDst)
			if err != nil {
				return err
			}
			c.staging = append(c.staging, b)
		}
		return nil
	})
}

// call runs f, which calls the library, while nobody else calls it. It returns the
// error of f or, where f has none, what the device reports. "The caller is inside
// call" means: only functions that call runs may call this; "holds run" (or calls, or
// load): the caller has locked the await.Lock of that name.
func (c *core) call(ctx context.Context, f func() error) error {
	if err := c.calls.Acquire(ctx); err != nil {
		return err
	}
	defer c.calls.Unlock()
	if c.lost != nil {
		return c.lost
	}
	err := f()
	if fault := c.faults.pop(); err == nil {
		err = fault
	}
	return plain(err)
}

// destroy frees the device. Every submission must be done. Where the device is lost,
// the GPU may still use the memory, which then is freed when the process ends.
func (c *core) destroy() {
	if c.lost != nil {
		return
	}
	for _, p := range c.pipelines {
		p.release()
	}
	for _, b := range append(c.staging, c.unread, c.unwritten) {
		c.freeBuffer(b)
	}
	for _, b := range c.uploads {
		b.Release()
	}
	if c.queue != nil {
		c.queue.Release()
	}
	if c.device != nil {
		c.device.Release()
		c.faults.free()
	}
	c.adapter.Release()
	c.instance.Release()
	c.lost = ErrClosed
}

// drop gives back one reference; the caller holds calls.
func (c *core) drop() {
	if c.refs--; c.refs == 0 {
		c.destroy()
	}
}

// Info describes the device and its limits.
func (d *Device) Info() Info {
	if d == nil {
		return Info{}
	}
	return d.core.info
}

// Target is what Programs for the device are built for: it says how the States of
// its stores lie.
func (d *Device) Target() graph.Target {
	if d == nil {
		return graph.Target{}
	}
	return d.core.target
}

// MemoryInUse is how many bytes all buffers take, but for those of 4 MiB, at most four, that
// uploads go through: what Options.MaxMemory bounds.
func (d *Device) MemoryInUse() int64 {
	if d == nil {
		return 0
	}
	d.core.calls.Lock()
	defer d.core.calls.Unlock()
	return d.core.used
}

// Retain returns another handle of the same GPU, to be closed by whoever got it.
func (d *Device) Retain() (*Device, error) {
	if err := d.retain(); err != nil {
		return nil, err
	}
	return &Device{core: d.core}, nil
}

// retain takes a reference, for a handle, a store or a session.
func (d *Device) retain() error {
	if d == nil {
		return ErrClosed
	}
	d.core.calls.Lock()
	defer d.core.calls.Unlock()
	if d.closed {
		return ErrClosed
	}
	d.core.refs++
	return nil
}

// Close gives the handle back. The GPU is released with its last handle, store
// and session, so those that are open go on working. A second Close, or Close
// of nil, does nothing.
func (d *Device) Close() error {
	if d == nil {
		return nil
	}
	d.core.calls.Lock()
	defer d.core.calls.Unlock()
	if !d.closed {
		d.closed = true
		d.core.drop()
	}
	return nil
}

// lose gives the device up.
func (c *core) lose(cause error) error {
	c.calls.Lock()
	defer c.calls.Unlock()
	if c.lost == nil {
		c.lost = fmt.Errorf("%w: %s: %w", ErrLost, c.info.Name, cause)
	}
	return c.lost
}
