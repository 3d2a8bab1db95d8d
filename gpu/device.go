package gpu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rajveermalviya/go-webgpu/wgpu"

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
	debug    debug.Switch

	run      await.Lock   // one Run, Read or Write at a time, from first upload to last readback; taken before calls
	inflight []submission // under run: also what a cancelled run left behind
	staging  *buffer      // under run
	arriving []transfer   // under run: what staging is being filled with

	calls     await.Lock // around all calls of the library, whose error scopes are one stack a device
	refs      int
	used      int64 // bytes of all buffers
	pipelines map[string]*pipeline
	pool      []*buffer // activations, shared by all sessions
	unread    *buffer   // bound where a kernel's input is absent
	unwritten *buffer   // bound, in ranges of their own, where its outputs are
	lost      error
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
	return c.call(context.Background(), func() error {
		if c.unread, err = c.newBuffer("absent inputs", absentBytes, storageUsage); err != nil {
			return err
		}
		if c.unwritten, err = c.newBuffer("absent outputs", maxAbsent*absentBytes, storageUsage); err != nil {
			return err
		}
		c.staging, err = c.newBuffer("readback", stagingBytes, wgpu.BufferUsage_MapRead|wgpu.BufferUsage_CopyDst)
		return err
	})
}

// call makes calls on the library, once it is alone with it, and returns the
// error that f or, failing that, the device reports.
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

// destroy wants every submission to be done, or the device to be lost: then
// the GPU may still use the memory, which is left to the process's end.
func (c *core) destroy() {
	if c.lost != nil {
		return
	}
	for _, p := range c.pipelines {
		p.release()
	}
	for _, b := range []*buffer{c.unread, c.unwritten, c.staging} {
		c.freeBuffer(b)
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

// MemoryInUse is how many bytes all buffers take: what Options.MaxMemory bounds.
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

// submission is work that the GPU has and may not have finished.
type submission struct {
	fence
	sent  time.Time
	learn func(elapsed time.Duration) error // called once the GPU is done, unless nil
	read  bool                              // it maps staging, which holds what is arriving
}

// watchdog is how long one submission may take; a software driver that first
// compiles many kernels on a busy machine needs minutes.
var watchdog = 15 * time.Minute

// drain waits until nothing is in flight. The caller holds run.
func (c *core) drain(ctx context.Context) error {
	for len(c.inflight) > 0 {
		if err := c.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// wait polls until the first submission is done: the library's own waiting gives
// up after 5 s and calls that success. Any error of polling but ctx's means that
// the device is lost.
func (c *core) wait(ctx context.Context) error {
	deadline := time.Now().Add(watchdog)
	for {
		done := false
		var result error
		err := c.call(ctx, func() error {
			c.device.Poll(false, nil)
			if done = c.inflight[0].done(); done {
				result = c.finish()
			}
			return nil
		})
		switch {
		case done:
			return result
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return c.lose(err)
		case time.Now().After(deadline):
			return c.lose(fmt.Errorf("no answer for %v", watchdog))
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// finish removes the first submission, which is done, and passes on what it gives:
// its duration, the values that it read, its error. The caller is inside call.
func (c *core) finish() error {
	s := c.inflight[0]
	c.inflight = slices.Delete(c.inflight, 0, 1)
	err := s.fence.finish()
	if err == nil && s.learn != nil {
		err = s.learn(time.Since(s.sent))
	}
	if err == nil && s.read {
		err = c.arrived()
	}
	if fault := c.faults.pop(); err == nil {
		err = fault
	}
	return err
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

// acquire takes run, with nothing in flight that a cancelled run left behind.
func (c *core) acquire(ctx context.Context) error {
	if err := c.run.Acquire(ctx); err != nil {
		return err
	}
	if err := c.finishEarlierRuns(ctx); err != nil {
		c.release()
		return err
	}
	return nil
}

// acquireIdle takes run and waits until nothing is in flight, however long that
// takes. Only on a lost device is something left, whose memory is never freed.
func (c *core) acquireIdle() {
	c.run.Lock()
	_ = c.finishEarlierRuns(context.Background())
}

// finishEarlierRuns drains, and drops the errors of runs that were cancelled.
func (c *core) finishEarlierRuns(ctx context.Context) error {
	for len(c.inflight) > 0 {
		if err := c.drain(ctx); err != nil && (ctx.Err() != nil || errors.Is(err, ErrLost)) {
			return err
		}
	}
	return nil
}

// release gives run back. It drops the targets of reads in flight: the caller that
// was cancelled may use that memory for something else by now.
func (c *core) release() {
	c.arriving = nil
	c.run.Unlock()
}

// send gives the GPU what record (which may be nil) encodes, and the copies
// that reads, of at most stagingBytes, ask for. Before, it waits for what is in
// flight: some drivers block in a submission until the one before is done, and
// no context would end that. The caller holds run.
func (c *core) send(ctx context.Context, record func(*wgpu.CommandEncoder) error, reads []transfer, learn func(time.Duration) error) error {
	if err := c.drain(ctx); err != nil {
		return err
	}
	return c.call(ctx, func() error {
		encoder, err := c.device.CreateCommandEncoder(nil)
		if err != nil {
			return err
		}
		defer encoder.Release()
		if record != nil {
			if err := record(encoder); err != nil {
				return err
			}
		}
		size, err := c.stage(encoder, reads)
		if err != nil {
			return err
		}
		commands, err := encoder.Finish(nil)
		if err != nil {
			return err
		}
		defer commands.Release()
		c.queue.Submit(commands)
		c.inflight = append(c.inflight, submission{fence: queueFence(c.queue), sent: time.Now(), learn: learn})
		if size > 0 {
			c.arriving = reads
			c.inflight = append(c.inflight, submission{fence: mapFence(c.staging.Buffer, size), read: true})
		}
		return nil
	})
}
