package main

import (
	"io"
	"strings"

	pprof "github.com/google/pprof/profile"
)

// writePprof writes steps as a gzipped profile of Google's pprof: a sample for
// each dispatch, whose stack is its kernel, its op and the modules around it.
// Viewers add up what has one name. The blocks of a transformer therefore share a
// name, with a * in the place of their number, which is the label "block".
func writePprof(w io.Writer, title string, all steps) error {
	p := &pprof.Profile{
		SampleType: []*pprof.ValueType{
			{Type: "dispatches", Unit: "count"}, {Type: "operations", Unit: "count"}, {Type: "time", Unit: "nanoseconds"},
		},
		DefaultSampleType: "time",
		Comments:          []string{title},
		DurationNanos:     int64(all.total().duration),
	}
	frames := map[string]*pprof.Location{}
	frame := func(name string) *pprof.Location {
		if frames[name] == nil {
			id := uint64(len(frames) + 1)
			f := &pprof.Function{ID: id, Name: name}
			frames[name] = &pprof.Location{ID: id, Line: []pprof.Line{{Function: f}}}
			p.Function = append(p.Function, f)
			p.Location = append(p.Location, frames[name])
		}
		return frames[name]
	}
	for _, s := range all {
		sample := &pprof.Sample{Value: []int64{1, s.flops, int64(s.duration)}}
		modules, blocks := modulesOf(s.scope)
		if blocks != nil {
			sample.Label = map[string][]string{"block": blocks}
		}
		sample.Location = []*pprof.Location{frame(s.kernel), frame(s.op)}
		for i := len(modules) - 1; i >= 0; i-- { // the innermost frame comes first
			sample.Location = append(sample.Location, frame(modules[i]))
		}
		p.Sample = append(p.Sample, sample)
	}
	if err := p.CheckValid(); err != nil {
		return err
	}
	return p.Write(w)
}

// modulesOf splits a scope such as visual.transformer.resblocks.3.attn into
// visual, transformer, resblocks.*, attn and the numbers that the * stand for.
func modulesOf(scope string) (modules, numbers []string) {
	for part := range strings.SplitSeq(scope, ".") {
		switch {
		case part == "":
		case len(modules) > 0 && strings.Trim(part, "0123456789") == "":
			modules[len(modules)-1] += ".*"
			numbers = append(numbers, part)
		default:
			modules = append(modules, part)
		}
	}
	return modules, numbers
}
