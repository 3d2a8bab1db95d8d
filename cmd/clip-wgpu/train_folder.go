package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/internal/atomicfile"
	"github.com/clip-wgpu/clip-wgpu/internal/smallfile"
	"github.com/clip-wgpu/clip-wgpu/internal/sysfile"
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
	Pending  *logLine            `json:"pending,omitempty"` // of the last step, where its evaluation was interrupted
	State    string              `json:"state"`             // the file that Trainer.Resume reads
	Folder   string              `json:"folder,omitempty"`  // where this file was: what it names may have moved with it
	Names    string              `json:"names,omitempty"`   // data.Dataset.Fingerprint
	Data     string              `json:"data,omitempty"`    // its FingerprintOfPlaces, of versions before Names
	Samples  int                 `json:"samples,omitempty"` // of the data; 0 is unknown, as is no Config
	Config   *config.Config      `json:"model_cfg,omitempty"`
	Device   string              `json:"device"`
	Args     []string            `json:"args"`
	Flags    map[string][]string `json:"flags"`
}

const runVersion = 1

// Files of a training's folder.
const (
	runName     = "run.json"
	logName     = "log.jsonl"
	lockName    = "run.lock"
	plotName    = "loss.svg"
	modelFolder = "model"
	adapterName = "adapter"
)

// maxRun and maxLog are the most bytes that they have.
const (
	maxRun = 64 << 20
	maxLog = 1 << 36
)

// runFolder is the folder that a training writes.
type runFolder struct {
	path string
	made bool     // by this process
	lock *os.File // keeps other processes from writing, too
	log  *os.File
}

func (r *runFolder) at(name string) string { return filepath.Join(r.path, name) }

// createRun makes a new folder, or takes an empty one.
func createRun(path string) (*runFolder, error) {
	entries, err := os.ReadDir(path)
	switch {
	case err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == runName }):
		return nil, fmt.Errorf("output %s: the folder is not empty (--resume %s goes on with the training in it)", path, path)
	case err == nil && len(entries) > 0:
		return nil, fmt.Errorf("output %s: the folder is not empty", path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, outputError(path, err)
	}
	r := &runFolder{path: path, made: err != nil}
	if err := os.MkdirAll(path, 0o777); err != nil {
		return nil, outputError(path, err)
	}
	if err = r.takeLock(); err == nil {
		err = r.openLog()
	}
	if err != nil {
		r.close()
	}
	return r, err
}

// takeLock refuses a folder that another process trains in.
func (r *runFolder) takeLock() (err error) {
	if r.lock, err = os.OpenFile(r.at(lockName), os.O_RDWR|os.O_CREATE, 0o666); err != nil {
		return outputError(r.at(lockName), err)
	}
	locked, err := sysfile.TryLock(r.lock)
	if err == nil && !locked {
		err = errors.New("another process trains in the folder")
	}
	if err != nil {
		r.lock.Close()
		r.lock = nil
		return outputError(r.path, err)
	}
	return nil
}

func (r *runFolder) openLog() (err error) {
	r.log, err = os.OpenFile(r.at(logName), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return outputError(r.at(logName), err)
	}
	return nil
}

// close lets others write. Of a training that has not begun nothing is left.
func (r *runFolder) close() {
	if r.lock == nil {
		return // the folder is another's
	}
	if r.log != nil {
		r.log.Close()
	}
	info, err := os.Stat(r.at(logName))
	_, none := os.Lstat(r.at(runName))
	if err == nil && info.Size() > 0 || none == nil {
		r.lock.Close()
		return
	}
	os.Remove(r.at(logName))
	r.lock.Close()
	os.Remove(r.at(lockName))
	if r.made {
		os.Remove(r.path)
	}
}

// readRun reads run.json of a training.
func readRun(path string) (f runFile, err error) {
	content, err := smallfile.Read(filepath.Join(path, runName), maxRun)
	if errors.Is(err, fs.ErrNotExist) {
		return f, fmt.Errorf("--resume %s: there is no run.json of a training that has saved anything", path)
	}
	if err == nil {
		err = json.Unmarshal(content, &f)
	}
	if err == nil && (f.Version != runVersion || f.Step < 0 || f.Steps < 1 || f.Flags == nil || f.State != filepath.Base(f.State)) {
		err = errors.New("is not of a training that this version goes on with")
	}
	if err != nil {
		return f, fmt.Errorf("%s: %w", filepath.Join(path, runName), err)
	}
	return f, nil
}

// continueRun opens a training's folder as it was at a step, and returns the lines of the
// log: later ones go, and what is damaged.
func continueRun(path string, step int) (*runFolder, []logLine, error) {
	r := &runFolder{path: path}
	if err := r.takeLock(); err != nil {
		return nil, nil, err
	}
	now, err := readRun(path)
	if err == nil && now.Step != step {
		err = fmt.Errorf("--resume %s: another process has gone on with it meanwhile", path)
	}
	var all []logLine
	if err == nil {
		all, err = r.cutLog(step)
	}
	if err == nil {
		err = r.openLog()
	}
	if err != nil {
		r.close()
	}
	return r, all, err
}

// cutLog leaves the log the lines up to a step, and returns them.
func (r *runFolder) cutLog(step int) (all []logLine, err error) {
	content, err := smallfile.Read(r.at(logName), maxLog)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, outputError(r.at(logName), err)
	}
	var kept []byte
	for text := range bytes.Lines(content) {
		var line logLine
		if json.Unmarshal(text, &line) != nil || line.Step > step {
			break
		}
		all, kept = append(all, line), append(append(kept, bytes.TrimSpace(text)...), '\n')
	}
	if err := atomicfile.Write(r.at(logName), kept, true); err != nil {
		return nil, outputError(r.at(logName), err)
	}
	return all, nil
}

// append writes a line of the log.
func (r *runFolder) append(line logLine) error {
	content, err := json.Marshal(line)
	if err == nil {
		_, err = r.log.Write(append(content, '\n'))
	}
	if err != nil {
		return outputError(r.at(logName), err)
	}
	return nil
}

// commit makes f, whose state is written, what --resume goes on from.
func (r *runFolder) commit(f runFile) error {
	content, err := json.MarshalIndent(f, "", "  ")
	if err == nil {
		err = atomicfile.Write(r.at(runName), append(content, '\n'), true)
	}
	if err != nil {
		return outputError(r.at(runName), err)
	}
	r.sweep(f.State)
	return nil
}

// sweep removes the states before this one, and what a crash left unfinished of what a training
// writes: another command may be writing beside it. What cannot be removed does no harm.
func (r *runFolder) sweep(state string) {
	files := os.DirFS(r.path)
	states, _ := fs.Glob(files, "state-*.safetensors")
	for _, name := range states {
		if name != state {
			os.Remove(r.at(name))
		}
	}
	for _, name := range []string{runName, logName, plotName, modelFolder, "state-*.safetensors", adapterName + "/adapter_*"} {
		unfinished, _ := fs.Glob(files, atomicfile.TempPattern(name))
		for _, left := range unfinished {
			os.RemoveAll(r.at(left))
		}
	}
}

// mayDiffer are the flags that a training that goes on may have other values of.
var mayDiffer = []string{"resume", "steps", "epochs", "minutes", "save-every", "log-every", "eval-every", "device", "max-gpu-mem", "batch", "json", "quiet", "micro-batch", "max-bad", "eval", "root", "class-names"}

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

// restoreFlags sets the flags of a training that goes on, but for those that are given now:
// they take the places of the others in flags, too.
func restoreFlags(cmd *cobra.Command, flags map[string][]string) error {
	now := givenFlags(cmd)
	for name := range now {
		if !slices.Contains(mayDiffer, name) {
			return usageErrorf(cmd, "--%s does not go with --resume, which takes the flags of the training", name)
		}
	}
	for name, other := range map[string]string{"steps": "epochs", "epochs": "steps"} {
		if now[name] != nil {
			delete(flags, other)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		if now[name] != nil {
			continue
		}
		f := cmd.Flags().Lookup(name)
		if f == nil {
			return fmt.Errorf("run.json: there is no flag --%s", name)
		}
		var err error
		if list, ok := f.Value.(pflag.SliceValue); ok {
			err = list.Replace(flags[name])
			f.Changed = true
		} else {
			err = cmd.Flags().Set(name, strings.Join(flags[name], " "))
		}
		if err != nil {
			return fmt.Errorf("run.json: --%s %q: %w", name, flags[name], err)
		}
	}
	maps.Copy(flags, now)
	return nil
}
