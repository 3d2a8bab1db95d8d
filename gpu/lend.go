package gpu

import (
	"context"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"github.com/clip-wgpu/clip-wgpu/gpu/internal/raw"
)

func init() {
	raw.Borrow = func(d any) (*raw.Device, error) { return d.(*Device).lend() }
}

// lend gives the device to another package below this one.
func (d *Device) lend() (*raw.Device, error) {
	if err := d.retain(); err != nil {
		return nil, err
	}
	c := d.core
	return &raw.Device{Name: c.info.Name, Instance: c.instance, Adapter: c.adapter, Device: c.device, Queue: c.queue, Core: lent{c, new(job)}}, nil
}

// lent is the raw.Core of a device.
type lent struct {
	core *core
	job  *job // what the borrower submits
}

func (l lent) Call(ctx context.Context, f func() error) error  { return l.core.call(ctx, f) }
func (l lent) Alone(ctx context.Context, f func() error) error { return l.core.alone(ctx, f) }
func (l lent) Finish(ctx context.Context) error                { return l.core.wait(ctx, l.job) }

func (l lent) Submit(ctx context.Context, record func(*wgpu.CommandEncoder) error) error {
	return l.core.send(ctx, submission{job: l.job, record: record})
}

func (l lent) Read(ctx context.Context, b *wgpu.Buffer, dst []byte) error {
	return l.core.readback(ctx, []transfer{{src: &buffer{Buffer: b}, dst: dst}})
}

func (l lent) Reserve(n int64) error {
	if err := l.core.fits(n); err != nil {
		return err
	}
	l.core.used += n
	return nil
}

func (l lent) Free(n int64)           { l.core.used -= n }
func (l lent) Fault() error           { return l.core.faults.pop() }
func (l lent) Lose(cause error) error { return l.core.lose(cause) }

func (l lent) Close() {
	l.core.calls.Lock()
	defer l.core.calls.Unlock()
	l.core.drop()
}
