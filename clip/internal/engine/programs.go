package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/flight"
)

// programCache keeps the most recently used programs of an engine loaded. To compile,
// load and close a program may take long. A goroutine of its own does that without
// the cache's lock, so that a caller whose context ends leaves at once.
type programCache struct {
	mu       sync.Mutex
	idle     sync.Cond // signalled when a program is released
	programs map[string]*program
	limits   map[string]int // by Task's key, the largest batch that the device may hold; only of tasks with one too large
	maxBatch int
	clock    int
	closed   bool
}

type program struct {
	batch  int
	loaded chan struct{} // closed once the next five fields are set; they never change then

	session *gpu.Session
	err     error
	inputs  []graph.Binding
	outputs []graph.Binding
	names   []string // of the outputs

	// Under the cache's mu.
	users int
	used  int // clock at the last use
}

// feed selects the values of the program's own inputs. Build drops inputs that no
// output needs: intermediate blocks, for one, need no pooling.
func (p *program) feed(all map[string]any) map[string]any {
	feed := make(map[string]any, len(p.inputs))
	for _, in := range p.inputs {
		feed[in.Name] = all[in.Name]
	}
	return feed
}

// MaxPrograms bounds the programs kept loaded, each with its own activations.
const MaxPrograms = 24

func newProgramCache(maxBatch int) *programCache {
	c := &programCache{programs: map[string]*program{}, limits: map[string]int{}, maxBatch: maxBatch}
	c.idle.L = &c.mu
	return c
}

// acquire returns a loaded program for t with the largest batch, a power of
// two, that n items fill and the device holds. Where memory is short it first waits
// until the programs of f's batches may go. A caller whose context ends
// leaves; the loading, which may take seconds, goes on for the next one.
func (c *programCache) acquire(f *flight.Flight, e *Engine, t Task, n int) (*program, error) {
	for {
		p, err := c.find(e, t, n)
		if err != nil {
			return nil, err
		}
		select {
		case <-p.loaded:
			err = p.err
		case <-f.Context().Done():
			err = f.Context().Err()
		}
		if err == nil {
			return p, nil
		}
		c.release(p)
		if noMemory(err) && f.Settled() {
			continue
		}
		if t.Whole || p.batch == 1 || !tooLarge(err) && !noMemory(err) {
			return nil, err
		}
		n = p.batch / 2
	}
}

// tooLarge reports whether err says that the device can never do this. It may do
// the same for a smaller batch.
func tooLarge(err error) bool {
	var size *graph.SizeError
	var limit *gpu.LimitError
	return errors.As(err, &size) || errors.As(err, &limit)
}

// TooLarge reports whether err says that the device has no room for a batch, now or ever.
func TooLarge(err error) bool { return tooLarge(err) || noMemory(err) }

// noMemory reports whether err says that memory is short. Others may free some.
func noMemory(err error) bool {
	var memory *gpu.MemoryError
	return errors.As(err, &memory)
}

// find returns a program that is loaded or about to be.
func (c *programCache) find(e *Engine, t Task, n int) (*program, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, gpu.ErrClosed
	}
	limit, ok := c.limits[t.Key]
	if !ok {
		limit = c.maxBatch
	}
	batch := 1
	for batch*2 <= min(n, limit) {
		batch *= 2
	}
	if t.Whole {
		batch = n
	}
	key := fmt.Sprintf("%s batch %d", t.Key, batch)
	p := c.programs[key]
	if p == nil {
		p = &program{loaded: make(chan struct{}), batch: batch, users: 1}
		c.programs[key] = p
		go c.load(e, t, p, key)
	}
	c.clock++
	p.users, p.used = p.users+1, c.clock
	return p, nil
}

// load makes p, which it uses meanwhile, ready to run.
func (c *programCache) load(e *Engine, t Task, p *program, key string) {
	prog, names, err := e.compile(t, p.batch, e.Tuning.Choose)
	var session *gpu.Session
	if err == nil {
		c.evict(MaxPrograms)
		session, err = c.session(e, prog)
	}
	c.mu.Lock()
	if err == nil {
		p.session, p.inputs, p.outputs, p.names = session, prog.Inputs, prog.Outputs, names
	} else {
		p.err = err
		delete(c.programs, key) // the next caller tries again
	}
	if limit, ok := c.limits[t.Key]; tooLarge(err) && (!ok || p.batch/2 < limit) {
		c.limits[t.Key] = p.batch / 2
	}
	c.mu.Unlock()
	close(p.loaded)
	c.release(p)
}

// session loads prog. Where memory is short it first closes the programs that nobody
// uses, but only if prog fits then.
func (c *programCache) session(e *Engine, prog *graph.Program) (*gpu.Session, error) {
	session, err := e.device.Load(prog, e.store)
	if noMemory(err) && e.store.Fits(prog, c.unused()...) == nil {
		c.evict(0)
		session, err = e.device.Load(prog, e.store)
	}
	return session, err
}

// unused are the sessions of programs that nobody uses.
func (c *programCache) unused() []*gpu.Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	var sessions []*gpu.Session
	for _, p := range c.programs {
		if p.users == 0 {
			sessions = append(sessions, p.session)
		}
	}
	return sessions
}

// evict closes the least recently used of more than bound programs, those in
// use excepted.
func (c *programCache) evict(bound int) {
	c.mu.Lock()
	var evicted []*program
	for len(c.programs) > bound {
		oldest := ""
		for key, p := range c.programs {
			if p.users == 0 && (oldest == "" || p.used < c.programs[oldest].used) {
				oldest = key
			}
		}
		if oldest == "" {
			break
		}
		evicted = append(evicted, c.programs[oldest])
		delete(c.programs, oldest)
	}
	c.mu.Unlock()
	for _, p := range evicted {
		p.session.Close()
	}
}

// Drop closes the programs of tasks whose keys begin with prefix, which nobody uses, and
// frees states that nothing else binds.
func (e *Engine) Drop(prefix string, states ...*graph.State) error {
	c := e.programs
	c.mu.Lock()
	var dropped []*program
	for key, p := range c.programs {
		if p.users == 0 && strings.HasPrefix(key, prefix) {
			dropped = append(dropped, p)
			delete(c.programs, key)
		}
	}
	c.mu.Unlock()
	var errs []error
	for _, p := range dropped {
		errs = append(errs, p.session.Close())
	}
	return errors.Join(append(errs, e.store.Free(states...))...)
}

// MaxBatch is how many items go to the device at once.
func (e *Engine) MaxBatch() int { return e.programs.maxBatch }

func (c *programCache) release(p *program) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.users--
	c.idle.Broadcast()
}

// close frees all programs once nobody uses them; false when it was done before.
func (c *programCache) close() bool {
	if !c.refuse() {
		return false
	}
	c.evict(0)
	return true
}

// refuse gives no more programs out and waits until those given out are back;
// false when it was called before.
func (c *programCache) refuse() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.closed = true
	for p := range maps.Values(c.programs) {
		for p.users > 0 {
			c.idle.Wait()
		}
	}
	return true
}

// Loaded lists the programs that are kept: their tasks' keys and batches, sorted.
func (e *Engine) Loaded() []string {
	e.programs.mu.Lock()
	defer e.programs.mu.Unlock()
	return slices.Sorted(maps.Keys(e.programs.programs))
}

// BatchLimits are the largest batches of those tasks for which the device refused a
// larger one, by key.
func (e *Engine) BatchLimits() map[string]int {
	e.programs.mu.Lock()
	defer e.programs.mu.Unlock()
	return maps.Clone(e.programs.limits)
}
