package gpu

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/rajveermalviya/go-webgpu/wgpu"

	"github.com/clip-wgpu/clip-wgpu/graph"
)

const (
	// uploadBytes is the size of a buffer that uploads go through. Its memory is used again:
	// the library's own way takes fresh memory for each write, and its page faults cost more
	// than the copy.
	uploadBytes = 4 << 20
	// maxUploads is how many there are at most. What they hold together waits behind a run that
	// the GPU is executing. A software driver takes two: one is filled while it copies from another.
	maxUploads = 4
	// leastUpload is the smallest write that is worth a submission of its own. An index passes
	// on as many bytes where its vectors have 128 values: 1,000,000 of them take 20 MB less of
	// the host's memory than by the library's way.
	leastUpload = 256 << 10
)

// uploader writes to buffers. The caller holds run.
type uploader struct {
	*core
	job     *job  // of what is on its way
	pending int64 // bytes that the library has copied since the last flush
}

// newUploader makes an uploader with a job of its own.
func newUploader(c *core) *uploader { return &uploader{core: c, job: new(job)} }

// write copies data into dst from offset on. Its last part may still be on its way when it
// returns; whatever is submitted next comes after it.
func (u *uploader) write(ctx context.Context, dst *buffer, offset int64, data []byte) error {
	if len(data) > 0 && offset+int64(len(data)) > dst.size {
		return fmt.Errorf("upload of %d bytes at %d into a buffer of %d", len(data), offset, dst.size)
	}
	for len(data) >= leastUpload {
		n := min(len(data), uploadBytes)
		if err := u.submit(ctx, dst, offset, data[:n]); err != nil {
			return err
		}
		data, offset = data[n:], offset+int64(n)
	}
	if len(data) == 0 {
		return nil
	}
	if u.pending+int64(len(data)) > pendingBytes {
		if err := u.flush(ctx); err != nil {
			return err
		}
	}
	u.pending += int64(len(data))
	return u.call(ctx, func() error {
		writeBuffer(u.queue, dst.Buffer, offset, data)
		return u.job.err // of what went before
	})
}

// upload is a copy of the first bytes of a buffer of takeUpload's, which is mapped again after it.
type upload struct {
	from          *wgpu.Buffer
	into          *buffer
	offset, bytes int64 // of into
}

// encode records the copy. Mistakes are faults.
func (u *upload) encode(e *wgpu.CommandEncoder) {
	unmap(u.from)
	copyBuffer(e, u.from, 0, u.into.Buffer, u.offset, u.bytes)
}

// submit gives the GPU a copy of at most uploadBytes into dst.
func (u *uploader) submit(ctx context.Context, dst *buffer, offset int64, data []byte) error {
	b, err := u.takeUpload(ctx)
	if err != nil {
		return err
	}
	err = u.call(ctx, func() error { return fillMapped(b, data) })
	if err == nil {
		err = u.send(ctx, submission{job: u.job, upload: upload{b, dst, offset, int64(len(data))}})
	}
	if err != nil {
		u.dropUpload(b)
	}
	return err
}

// takeUpload waits for a mapped buffer that the GPU does not copy from. Options.MaxMemory does
// not count it: like what the library copies writes to, it is the host's memory.
func (c *core) takeUpload(ctx context.Context) (b *wgpu.Buffer, err error) {
	if err := c.until(ctx, func() bool { return len(c.uploads) > 0 || c.uploadBuffers < maxUploads }); err != nil {
		return nil, err
	}
	err = c.call(ctx, func() error {
		if n := len(c.uploads); n > 0 {
			b, c.uploads = c.uploads[n-1], c.uploads[:n-1]
			return nil
		}
		b, err = c.device.CreateBuffer(&wgpu.BufferDescriptor{
			Label: "uploads", Size: uploadBytes, Usage: wgpu.BufferUsage_MapWrite | wgpu.BufferUsage_CopySrc, MappedAtCreation: true,
		})
		if err != nil {
			return err
		}
		if err := c.faults.pop(); err != nil { // out of memory: the buffer is there, but invalid
			b.Release()
			return err
		}
		c.uploadBuffers++
		return nil
	})
	return b, err
}

// dropUpload frees a buffer that was taken and not sent.
func (c *core) dropUpload(b *wgpu.Buffer) {
	c.calls.Lock()
	defer c.calls.Unlock()
	if c.lost == nil {
		c.freeUpload(b)
	}
}

// freeUpload frees a buffer that the GPU does not use. The caller is inside call.
func (c *core) freeUpload(b *wgpu.Buffer) {
	c.uploadBuffers--
	b.Release()
}

// flush waits until the GPU has everything that was written.
func (u *uploader) flush(ctx context.Context) error {
	if u.pending > 0 {
		u.pending = 0
		if err := u.send(ctx, submission{job: u.job}); err != nil {
			return err
		}
	}
	return u.wait(ctx, u.job)
}

// failed is the first error of what was written and is done.
func (u *uploader) failed() error {
	u.calls.Lock()
	defer u.calls.Unlock()
	return u.job.err
}

// upload fills the params and the States that the store lacks, parameters from
// their sources. It gives the store these States when all of them are full.
func (s *Session) upload(ctx context.Context) error {
	params := make([]uint32, len(s.program.Steps)*paramsBytes/4)
	for i, st := range s.program.Steps {
		copy(params[i*paramsBytes/4:], st.Params)
	}
	u := newUploader(s.core)
	err := u.alone(ctx, func() error { return u.write(ctx, s.params, 0, bytesOf(params)) })
	if err != nil {
		return err
	}
	var fresh []int
	for i, m := range s.states {
		if m == nil {
			fresh = append(fresh, i)
		}
	}
	if err = s.core.call(ctx, func() error { return s.allocateStates(fresh) }); err == nil {
		err = s.stream(ctx, u, fresh)
	}
	if err == nil {
		err = u.alone(ctx, func() error { return u.flush(ctx) })
	}
	if err == nil { // the flush came behind all that WriteBytes has sent
		err = s.store.late.failed()
	}
	if err != nil {
		s.discard(fresh)
		return err
	}
	s.core.calls.Lock()
	defer s.core.calls.Unlock()
	for _, i := range fresh {
		s.store.states[s.program.States[i]] = s.states[i]
	}
	return nil
}

// allocateStates makes the States of these indices. The caller is inside call.
func (s *Session) allocateStates(fresh []int) (err error) {
	for _, i := range fresh {
		if s.states[i], err = s.store.allocateState(s.program.States[i]); err != nil {
			return err
		}
	}
	return nil
}

// discard frees States that were not all filled.
func (s *Session) discard(fresh []int) {
	s.core.acquireIdle()
	defer s.core.release()
	s.core.calls.Lock()
	defer s.core.calls.Unlock()
	for _, i := range fresh {
		s.core.freeState(s.states[i])
	}
}

// maxStreams is how many parameters are converted at once, each in a few MiB of
// the host's memory, while others are on their way.
const maxStreams = 4

// stream fills the parameters among the States of these indices from their
// sources. While it reads a source it holds no lock that others wait for.
func (s *Session) stream(ctx context.Context, u *uploader, fresh []int) error {
	var next atomic.Int64
	errs := make([]error, min(maxStreams, runtime.GOMAXPROCS(0)))
	var streams sync.WaitGroup
	for i := range errs {
		streams.Go(func() {
			for at := int(next.Add(1)) - 1; at < len(fresh); at = int(next.Add(1)) - 1 {
				p := s.program.Params[s.program.States[fresh[at]]]
				if p == nil {
					continue
				}
				if err := s.streamOne(ctx, u, p, s.states[fresh[at]]); err != nil {
					errs[i] = fmt.Errorf("parameter %s: %w", p.Name, err)
					next.Store(int64(len(fresh)))
				}
			}
		})
	}
	streams.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// streamOne uploads a parameter piece by piece.
func (s *Session) streamOne(ctx context.Context, u *uploader, p *graph.Param, m extents) error {
	if p.Source == nil {
		return errors.New("it has no source and was not written")
	}
	write := func(offset int64, data []byte) error {
		return u.alone(ctx, func() error { return u.fill(ctx, m, offset, data) })
	}
	if p.Packed() {
		return s.core.target.Packing(&p.State).Pack(p.Source.ReadF32, func(offset int64, words []uint32) error { return write(offset, bytesOf(words)) })
	}
	const piece = 1 << 20 // elements
	n := p.Shape.Elems()
	values := make([]float32, min(n, piece))
	for at := 0; at < n; at += len(values) {
		values = values[:min(len(values), n-at)]
		if err := p.Source.ReadF32(values, at); err != nil {
			return err
		}
		if err := write(4*int64(at), bytesOf(values)); err != nil {
			return err
		}
	}
	return nil
}
