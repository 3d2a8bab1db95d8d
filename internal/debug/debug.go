// Package debug reads the environment variable CLIPWGPU, the one switch for
// whoever looks for a fault: NAME=VALUE pairs with commas between them, as in
// GODEBUG.
package debug

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// Variable is the name of the environment variable.
const Variable = "CLIPWGPU"

// Switch is what CLIPWGPU asks for. The zero Switch asks for nothing.
type Switch struct {
	Trace    bool   // trace=1: a line to stderr for every load and every submission
	CheckNaN bool   // check=nan: the first NaN or infinity that a step writes is an error
	CheckOps bool   // check=ops: so is the first value that an op's reference has otherwise
	Dump     string // dump=SCOPE: what steps write that do the work of such layers is kept in files; "" without
	NoPlan   bool   // plan=off: no op is fused, no activation shares memory, every step runs each time
	NoTune   bool   // tune=off: saved tuning is ignored
	GPU      bool   // kernels=gpu: software drivers run what a GPU runs
	WGSL     string // wgsl=DIR: kernels are read from there where a file of their name is; "" without
}

// DumpFolder is where dump=SCOPE writes, in the working directory.
const DumpFolder = "clip-wgpu-dump"

// pairs lists what there is, for errors.
const pairs = "trace=1, check=nan, check=ops, dump=SCOPE, plan=off, tune=off, kernels=gpu, wgsl=DIR"

// Get reads the environment variable. Callers read it when they open, record or load
// something, because a run has no time for it. The error is one line that lists all
// settings.
func Get() (Switch, error) { return parse(os.Getenv(Variable)) }

func parse(text string) (s Switch, err error) {
	if text == "" {
		return s, nil
	}
	var seen []string
	for pair := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(pair, "=")
		if slices.Contains(seen, name) {
			return Switch{}, fmt.Errorf("%s: %s is there twice", Variable, name)
		}
		seen = append(seen, name)
		switch {
		case pair == "trace=1":
			s.Trace = true
		case pair == "check=nan":
			s.CheckNaN = true
		case pair == "check=ops":
			s.CheckOps = true
		case pair == "plan=off":
			s.NoPlan = true
		case pair == "tune=off":
			s.NoTune = true
		case pair == "kernels=gpu":
			s.GPU = true
		case name == "dump" && value != "":
			s.Dump = value
		case name == "wgsl" && value != "":
			if info, err := os.Stat(value); err != nil || !info.IsDir() {
				return Switch{}, fmt.Errorf("%s: wgsl=%s: no such folder", Variable, value)
			}
			s.WGSL = value
		case ok && slices.Contains([]string{"trace", "check", "dump", "plan", "tune", "kernels", "wgsl"}, name):
			return Switch{}, fmt.Errorf("%s: %s has no value %q; there are %s", Variable, name, value, pairs)
		default:
			return Switch{}, fmt.Errorf("%s: unknown %q; there are %s", Variable, pair, pairs)
		}
	}
	return s, nil
}

// Watches reports whether steps are looked at one by one.
func (s Switch) Watches() bool { return s.CheckNaN || s.CheckOps || s.Dump != "" }
