package gpu

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rajveermalviya/go-webgpu/wgpu"
)

// The GPU executes submissions in the order in which it gets them, and what is
// written to a buffer in between takes its place in that order. So a Run may be
// submitted while the one before is executing, though both use the same memory.
// Whoever submits holds run; whoever waits for results does not.

// job is what one caller asks of the GPU, in one or several submissions.
type job struct {
	// Under core.calls.
	pending  int           // submissions that are not finished
	err      error         // the first of theirs
	took     time.Duration // by those that are finished
	readback time.Duration // to copy what they brought

	upload    time.Duration
	committed bool       // a State is being written: no end of a context counts any more
	reads     []transfer // of a Run

	mu   sync.Mutex
	left bool // the caller has left, and may already use the memory to read into for something else
}

// jobs are kept for other Runs, which then allocate none.
var jobs = sync.Pool{New: func() any { return new(job) }}

// recycle keeps j, of which nothing is in flight, for another Run.
func (j *job) recycle() {
	clear(j.reads) // they hold on to the caller's memory
	*j = job{reads: j.reads[:0]}
	jobs.Put(j)
}

// leave notes that the caller no longer waits: values that arrive later are dropped.
func (j *job) leave() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.left = true
}

func (j *job) isLeft() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.left
}

// submission is work that the GPU gets at once.
type submission struct {
	job     *job
	session *Session                         // whose steps are dispatched, and that learns how long they took; or nil
	steps   []step                           // of session
	record  func(*wgpu.CommandEncoder) error // encodes something else; or nil
	reads   []transfer                       // of at most stagingSize, copied after it
	upload  upload                           // copied before anything else; or none
	alone   bool                             // with nothing else in flight, so that its time is its own

	// Once the GPU has it.
	fence
	staging *buffer       // holds what reads copy, or nil
	behind  bool          // others were in flight
	cost    time.Duration // estimated when it was sent
}

// maxInFlight is how many submissions a GPU may have: one that it executes, and the
// next, so that the GPU need not wait for it. Software drivers get one, as they block in a
// submission until the one before is done, and no context would end that.
func maxInFlight(i Info) int {
	if i.Software() {
		return 1
	}
	return 2
}

// watchdog is how long one submission may take; a software driver that first
// compiles many kernels on a busy machine needs minutes.
var watchdog = 15 * time.Minute

// acquire takes run, with room in flight for a submission.
func (c *core) acquire(ctx context.Context) error {
	if err := c.run.Acquire(ctx); err != nil {
		return err
	}
	if err := c.waitInFlight(ctx, false); err != nil {
		c.release()
		return err
	}
	return nil
}

// acquireIdle takes run and waits until nothing is in flight, however long that
// takes. Only on a lost device is something left, whose memory is never freed.
func (c *core) acquireIdle() {
	c.run.Lock()
	_ = c.drain(context.Background())
}

// release gives run back.
func (c *core) release() { c.run.Unlock() }

// alone does f holding run, which the caller does not.
func (c *core) alone(ctx context.Context, f func() error) error {
	if err := c.acquire(ctx); err != nil {
		return err
	}
	defer c.release()
	return f()
}

// waitInFlight waits until one more submission may be in flight: fewer than depth are,
// and none if it, or the last one, is to run alone. Uploads are not counted, so that a run
// with large inputs is behind another, too; where depth is 1 nothing goes behind them. The
// caller holds run.
func (c *core) waitInFlight(ctx context.Context, alone bool) error {
	return c.until(ctx, func() bool {
		n := len(c.flight)
		return n == 0 || c.depth > 1 && c.counted() < c.depth && !alone && !c.flight[n-1].alone
	})
}

// counted is how many submissions are in flight but for uploads. The caller is inside call.
func (c *core) counted() (n int) {
	for i := range c.flight {
		if c.flight[i].upload.from == nil {
			n++
		}
	}
	return n
}

// drain waits until nothing is in flight. The caller holds run.
func (c *core) drain(ctx context.Context) error {
	return c.until(ctx, func() bool { return len(c.flight) == 0 })
}

// wait returns when j's submissions are finished, and their first error.
func (c *core) wait(ctx context.Context, j *job) error {
	err := c.until(ctx, func() bool { return j.pending == 0 })
	if err == nil {
		return j.err
	}
	if ctx.Err() == nil { // the device is closed or lost, perhaps after they were finished
		c.calls.Lock()
		defer c.calls.Unlock()
		if j.pending == 0 {
			return j.err
		}
	}
	return err
}

// until polls until enough, which is called under calls: the library's own waiting gives up
// after 5 s, calls that success and frees what the GPU still uses. Any error of polling but
// ctx's means that the device is lost.
func (c *core) until(ctx context.Context, enough func() bool) error {
	for {
		done := false
		var next time.Duration
		err := c.call(ctx, func() error {
			if len(c.flight) > 0 {
				c.device.Poll(false, nil)
				c.reap()
			}
			if done = enough(); !done && time.Since(c.began) > watchdog {
				return fmt.Errorf("no answer for %v", watchdog)
			}
			next = c.nextPoll()
			return nil
		})
		switch {
		case done && err == nil:
			return nil
		case !done && ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return c.lose(err)
		}
		pause(next)
	}
}

// nextPoll is how long to wait before the next poll: until the first submission should be
// done, and from there on an eighth of what has passed, so that the end is noticed soon. A
// poll takes a software driver's threads 50 µs. The caller is inside call.
func (c *core) nextPoll() time.Duration {
	const least, most = 100 * time.Microsecond, time.Millisecond
	since := time.Since(c.began)
	if len(c.flight) > 0 && c.flight[0].cost > since {
		return min(c.flight[0].cost-since, most)
	}
	return min(max(since/8, least), most)
}

// reap finishes the submissions that are done. The caller is inside call.
func (c *core) reap() {
	n := 0
	for n < len(c.flight) && c.flight[n].done() {
		n++
	}
	if n == 0 {
		return
	}
	now := time.Now()
	shareOut(c.flight[:n], now.Sub(c.began))
	for i := range c.flight[:n] {
		c.finish(&c.flight[i])
	}
	c.flight = slices.Delete(c.flight, 0, n)
	c.began = now
}

// finish gives the job what its submission, which is done, has brought: values that
// were read, an error. The caller is inside call.
func (c *core) finish(s *submission) {
	err := s.fence.finish()
	if s.staging != nil {
		if err == nil {
			err = s.arrive()
		}
		c.staging = append(c.staging, s.staging)
	}
	if fault := c.faults.pop(); err == nil {
		err = fault
	}
	switch {
	case s.upload.from == nil:
	case err == nil:
		c.uploads = append(c.uploads, s.upload.from)
	default: // it may not be mapped: the library aborts the process where such a buffer is filled
		c.freeUpload(s.upload.from)
	}
	if s.job.err == nil {
		s.job.err = err
	}
	s.job.pending--
}

// arrive takes what was staged, now mapped. It is the only way back from the GPU.
// The caller is inside call.
func (s *submission) arrive() error {
	defer unmap(s.staging.Buffer)
	s.job.mu.Lock()
	defer s.job.mu.Unlock()
	if s.job.left {
		return nil
	}
	defer func(start time.Time) { s.job.readback += time.Since(start) }(time.Now())
	var at int64
	for _, t := range s.reads {
		if err := copyMapped(t.dst, s.staging.Buffer, at); err != nil {
			return err
		}
		at += aligned(int64(len(t.dst)))
	}
	return nil
}

// send gives the GPU a submission once there is room for it. After an error the GPU does not
// have it: a fault that comes later is the job's. The caller holds run.
func (c *core) send(ctx context.Context, s submission) error {
	if err := c.waitInFlight(ctx, s.alone); err != nil {
		return err
	}
	return c.call(ctx, func() error {
		if s.job.err != nil {
			return s.job.err
		}
		encoder, err := c.device.CreateCommandEncoder(nil)
		if err != nil {
			return err
		}
		defer encoder.Release()
		if err := s.encode(encoder); err != nil {
			return err
		}
		size, err := c.stage(encoder, &s)
		if err != nil {
			return err
		}
		commands, err := encoder.Finish(nil)
		if err != nil {
			return err
		}
		defer commands.Release()
		if s.session != nil {
			s.cost = s.session.cost(s.steps)
		}
		start := time.Now() // a software driver may be done before Submit returns
		c.queue.Submit(commands)
		switch {
		case size > 0:
			c.staging = c.staging[:len(c.staging)-1]
			s.fence = mapFence(s.staging.Buffer, mapRead, size)
		case s.upload.from != nil:
			s.fence = mapFence(s.upload.from, mapWrite, uploadBytes)
		default:
			s.fence = queueFence(c.queue)
		}
		if s.behind = len(c.flight) > 0; !s.behind {
			c.began = start
		}
		c.flight = append(c.flight, s)
		s.job.pending++
		s.job.err = c.faults.pop()
		return nil
	})
}

// encode records what is to be done before the reads.
func (s *submission) encode(e *wgpu.CommandEncoder) error {
	switch {
	case s.upload.from != nil:
		s.upload.encode(e)
	case s.session != nil:
		return dispatch(e, s.steps)
	case s.record != nil:
		return s.record(e)
	}
	return nil
}

// stage encodes the copies of s to where the CPU can read them, and says how many
// bytes that is. There is a buffer for each submission that may be in flight.
func (c *core) stage(e *wgpu.CommandEncoder, s *submission) (size int64, err error) {
	if len(s.reads) == 0 {
		return 0, nil
	}
	s.staging = c.staging[len(c.staging)-1]
	for _, t := range s.reads {
		n := int64(len(t.dst))
		copyBuffer(e, t.src.Buffer, t.offset, s.staging.Buffer, size, n)
		size += aligned(n)
	}
	return size, c.faults.pop()
}

// sendReads submits copies that fill all dst after everything submitted before. The
// caller holds run.
func (c *core) sendReads(ctx context.Context, j *job, transfers []transfer) error {
	for len(transfers) > 0 {
		var first []transfer
		first, transfers = c.batch(transfers)
		if err := c.send(ctx, submission{job: j, reads: first}); err != nil {
			return err
		}
	}
	return nil
}

// readback fills all dst after everything submitted before. The caller holds run.
func (c *core) readback(ctx context.Context, transfers []transfer) error {
	j := new(job)
	defer j.leave()
	if err := c.sendReads(ctx, j, transfers); err != nil {
		return err
	}
	return c.wait(ctx, j)
}
