package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// console is what goes to stderr beside errors: notes, and on a terminal the
// progress of long work on a line that later output replaces.
type console struct {
	w        io.Writer
	quiet    bool
	terminal bool

	mu       sync.Mutex
	progress string // what the progress line shows now
	shown    time.Time
	delay    *time.Timer
}

func newConsole(stderr io.Writer, quiet bool) *console {
	f, ok := stderr.(*os.File)
	return &console{w: stderr, quiet: quiet, terminal: ok && term.IsTerminal(int(f.Fd()))}
}

// note writes a line, unless --quiet.
func (c *console) note(format string, args ...any) {
	if !c.quiet {
		c.problem(format, args...)
	}
}

// problem writes a line in any case.
func (c *console) problem(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.erase()
	printError(c.w, fmt.Sprintf(format, args...))
}

const progressInterval = 200 * time.Millisecond

// update shows progress on a terminal, a few times a second.
func (c *console) update(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quiet || !c.terminal || time.Since(c.shown) < progressInterval {
		return
	}
	c.erase()
	c.progress, c.shown = fmt.Sprintf(format, args...), time.Now()
	fmt.Fprint(c.w, c.progress)
}

// clear removes the progress line, before results go to the same terminal.
func (c *console) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.erase()
}

// erase is clear under the lock.
func (c *console) erase() {
	if c.progress != "" {
		fmt.Fprint(c.w, "\r\x1b[K")
		c.progress = ""
	}
}

// patience is how long a terminal may stay silent before the first result.
const patience = time.Second

// expectResult starts a timer. Where no cancelStartNote stops it within a second, a note
// on a terminal tells why the start is slow.
func (c *console) expectResult() {
	if c.terminal {
		c.delay = time.AfterFunc(patience, func() {
			c.note("the GPU driver compiles the kernels on their first use and keeps most of them for the next start")
		})
	}
}

func (c *console) cancelStartNote() {
	if c.delay != nil {
		c.delay.Stop()
	}
}
