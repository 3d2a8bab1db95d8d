package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/internal/atomicfile"
	"github.com/clip-wgpu/clip-wgpu/train/data"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// runFile is run.json: what a training goes on from. It is replaced when what it names is
// whole.
type runFile struct {
	Version  int                 `json:"clip_wgpu_run"`
	Step     int                 `json:"step"`
	Steps    int                 `json:"steps"` // of the whole training
	Position data.Position       `json:"position"`
	State    string              `json:"state"` // the file that Trainer.Resume reads
	Data     string              `json:"data"`  // data.Dataset.Fingerprint
	Device   string              `json:"device"`
	Args     []string            `json:"args"`
	Flags    map[string][]string `json:"flags"`
}

const runVersion = 1

// runFolder is the folder that a training writes.
type runFolder struct {
	path string
	log  *os.File
}

func (r *runFolder) at(name string) string { return filepath.Join(r.path, name) }

// createRun makes a new folder, or takes an empty one.
func createRun(path string) (*runFolder, error) {
	entries, err := os.ReadDir(path)
	switch {
	case err == nil && len(entries) > 0:
		return nil, fmt.Errorf("output %s: the folder is not empty (--resume %s goes on with a training in it)", path, path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, outputError(path, err)
	}
	if err := os.MkdirAll(path, 0o777); err != nil {
		return nil, outputError(path, err)
	}
	r := &runFolder{path: path}
	return r, r.openLog()
}

func (r *runFolder) openLog() (err error) {
	r.log, err = os.OpenFile(r.at("log.jsonl"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return outputError(r.at("log.jsonl"), err)
	}
	return nil
}

// readRun reads run.json of a training.
func readRun(path string) (f runFile, err error) {
	content, err := os.ReadFile(filepath.Join(path, "run.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return f, fmt.Errorf("--resume %s: there is no run.json of a training that has saved anything", path)
	}
	if err == nil {
		err = json.Unmarshal(content, &f)
	}
	if err == nil && (f.Version != runVersion || f.Step < 0 || f.Steps < 1 || f.State != filepath.Base(f.State)) {
		err = errors.New("is not of a training that this version goes on with")
	}
	if err != nil {
		return f, fmt.Errorf("%s: %w", filepath.Join(path, "run.json"), err)
	}
	return f, nil
}

// continueRun opens a training's folder as it was at a step, and returns the lines of the
// log: later ones go.
func continueRun(path string, step int) (*runFolder, []logLine, error) {
	r := &runFolder{path: path}
	name := r.at("log.jsonl")
	content, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	var kept []byte
	var all []logLine
	for lines := bufio.NewScanner(bytes.NewReader(content)); lines.Scan(); {
		var line logLine
		if json.Unmarshal(lines.Bytes(), &line) != nil || line.Step > step {
			break
		}
		all, kept = append(all, line), append(append(kept, lines.Bytes()...), '\n')
	}
	if err := atomicfile.Write(name, kept, true); err != nil {
		return nil, nil, outputError(name, err)
	}
	return r, all, r.openLog()
}

// append writes a line of the log.
func (r *runFolder) append(line logLine) error {
	content, err := json.Marshal(line)
	if err == nil {
		_, err = r.log.Write(append(content, '\n'))
	}
	if err != nil {
		return outputError(r.at("log.jsonl"), err)
	}
	return nil
}

// commit makes f, whose state is written, what --resume goes on from.
func (r *runFolder) commit(f runFile) error {
	content, err := json.MarshalIndent(f, "", "  ")
	if err == nil {
		err = atomicfile.Write(r.at("run.json"), append(content, '\n'), true)
	}
	if err != nil {
		return outputError(r.at("run.json"), err)
	}
	old, _ := filepath.Glob(r.at("state-*.safetensors"))
	for _, name := range old {
		if filepath.Base(name) != f.State {
			os.Remove(name)
		}
	}
	return nil
}

// mayDiffer are the flags that a training that goes on may have other values of.
var mayDiffer = []string{"resume", "steps", "epochs", "save-every", "log-every", "eval-every", "device", "max-gpu-mem", "batch", "json", "quiet", "micro-batch"}

// givenFlags are the values of the flags that were given, by name.
func givenFlags(cmd *cobra.Command) map[string][]string {
	given := map[string][]string{}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		given[f.Name] = []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			given[f.Name] = list.GetSlice()
		}
	})
	delete(given, "resume")
	delete(given, "flags")
	delete(given, "output")
	return given
}

// restoreFlags sets the flags of a training that goes on, but for those that are given now.
func restoreFlags(cmd *cobra.Command, flags map[string][]string) error {
	now := givenFlags(cmd)
	for name := range now {
		if !slices.Contains(mayDiffer, name) {
			return usageErrorf(cmd, "--%s does not go with --resume, which takes the flags of the training", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		f := cmd.Flags().Lookup(name)
		_, given := now[name]
		other := map[string]string{"steps": "epochs", "epochs": "steps"}[name]
		if _, replaced := now[other]; given || replaced || f == nil {
			continue
		}
		var err error
		if list, ok := f.Value.(pflag.SliceValue); ok {
			err = list.Replace(flags[name])
			f.Changed = true
		} else if len(flags[name]) == 1 {
			err = cmd.Flags().Set(name, flags[name][0])
		}
		if err != nil {
			return fmt.Errorf("run.json: --%s %q: %w", name, flags[name], err)
		}
	}
	return nil
}
