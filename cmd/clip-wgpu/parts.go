package main

import (
	"errors"
	"strconv"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/gpu"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// part is a batch of some items of a run, and how often it comes.
type part struct {
	batch, times int
	program      *graph.Program
}

// parts are the batches of a run of a tower, the largest first.
type parts []part

// partsOf splits n items as encoding does: into powers of two, of which none is larger
// than what the device takes. accept, where given, refuses programs too.
func partsOf(m lowered, tower string, n int, accept func(*graph.Program, int) error) (parts, error) {
	var all parts
	for most := n; n > 0; {
		batch := 1
		for 2*batch <= min(n, most) {
			batch *= 2
		}
		if last := len(all) - 1; last < 0 || all[last].batch != batch {
			p, err := towerProgram(m, tower, batch)
			if err == nil && accept != nil {
				err = accept(p, batch)
			}
			if batch > 1 && isTooLarge(err) {
				most = batch / 2
				continue
			}
			if err != nil {
				return nil, err
			}
			all = append(all, part{batch: batch, program: p})
		}
		all[len(all)-1].times++
		n -= batch
	}
	return all, nil
}

// isTooLarge tells whether a smaller batch may fit.
func isTooLarge(err error) bool {
	var size *graph.SizeError
	var limit *gpu.LimitError
	var memory *gpu.MemoryError
	return errors.As(err, &size) || errors.As(err, &limit) || errors.As(err, &memory)
}

func (all parts) flops() (sum int64) {
	for _, p := range all {
		sum += int64(p.times) * p.program.FLOPs()
	}
	return sum
}

func (all parts) dispatches() (sum int) {
	for _, p := range all {
		sum += p.times * p.program.Dispatches()
	}
	return sum
}

// String is how the items are split, as in 4 + 2.
func (all parts) String() string {
	var batches []string
	for _, p := range all {
		for range p.times {
			batches = append(batches, strconv.Itoa(p.batch))
		}
	}
	return strings.Join(batches, " + ")
}
