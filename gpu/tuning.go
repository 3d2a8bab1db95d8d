package gpu

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/clip-wgpu/clip-wgpu/internal/atomicfile"
	"github.com/clip-wgpu/clip-wgpu/internal/smallfile"
	"github.com/clip-wgpu/clip-wgpu/shaders"
)

// Tuning is what was measured of kernels that compute the same: seconds by
// class of problem and candidate. It belongs to one adapter, driver and set of
// kernels. A nil Tuning knows nothing.
type Tuning struct {
	Key     string                        `json:"key"`     // the adapter, driver and kernels
	Seconds map[string]map[string]float64 `json:"seconds"` // of the steps of one op of a class, by class and candidate
}

// NewTuning returns an empty Tuning for the device.
func (d *Device) NewTuning() *Tuning {
	i, kernels := d.Info(), "kernels"
	if d.core.debug.GPU {
		kernels = "a GPU's kernels"
	}
	return &Tuning{
		Key:     fmt.Sprintf("%s, %s, %s, %s %s", i.Name, i.Driver, i.Backend, kernels, shaders.Digest()),
		Seconds: map[string]map[string]float64{},
	}
}

// LoadTuning reads what the device's Save has kept in the user's cache folder.
// Nothing kept, or kept for another driver or other kernels, gives nil, and so
// does what cannot be read: work goes on without it. So it does with tune=off in
// CLIPWGPU.
func (d *Device) LoadTuning() *Tuning {
	if d != nil && d.core.debug.NoTune {
		return nil
	}
	return d.NewTuning().kept()
}

// kept is what is in the user's cache folder under t's key.
func (t *Tuning) kept() *Tuning {
	path, err := t.path()
	if err != nil {
		return nil
	}
	data, err := smallfile.Read(path, 16<<20)
	if err != nil {
		return nil
	}
	var kept Tuning
	if err := json.Unmarshal(data, &kept); err != nil || kept.Key != t.Key {
		return nil
	}
	if kept.Seconds == nil {
		kept.Seconds = map[string]map[string]float64{}
	}
	return &kept
}

// Add notes what a candidate took for a class; of several times the least counts.
func (t *Tuning) Add(class, candidate string, seconds float64) {
	if t.Seconds[class] == nil {
		t.Seconds[class] = map[string]float64{}
	}
	if old, ok := t.Seconds[class][candidate]; !ok || seconds < old {
		t.Seconds[class][candidate] = seconds
	}
}

// Choose returns the fastest of the candidates that were measured for the class, or "" when
// none was: it is a graph.Graph's Variants. What was measured for one batch serves its
// neighbours: where nothing is known of a class, that of twice its size answers, then that
// of half, of four times and of a quarter.
func (t *Tuning) Choose(class string, candidates []string) string {
	if t == nil {
		return ""
	}
	if best := t.fastest(class, candidates); best != "" {
		return best
	}
	at := sizeOf.FindStringSubmatchIndex(class)
	if at == nil {
		return ""
	}
	size, err := strconv.Atoi(class[at[2]:at[3]])
	if err != nil {
		return ""
	}
	for _, near := range []int{size * 2, size / 2, size * 4, size / 4} {
		if best := t.fastest(class[:at[2]]+strconv.Itoa(near)+class[at[3]:], candidates); best != "" {
			return best
		}
	}
	return ""
}

// sizeOf finds the size in the name of a class, as graph.Node's Choose wants it.
var sizeOf = regexp.MustCompile(` (\d+)`)

// fastest is the fastest of the candidates that were measured for just this class.
func (t *Tuning) fastest(class string, candidates []string) string {
	times, best := t.Seconds[class], ""
	for _, c := range candidates {
		if s := times[c]; s > 0 && (best == "" || s < times[best]) {
			best = c
		}
	}
	return best
}

// Classes lists what was measured, in ascending order.
func (t *Tuning) Classes() []string { return slices.Sorted(maps.Keys(t.Seconds)) }

// Save keeps t in the user's cache folder and returns the file. What was kept of
// other classes, as other models have them, stays.
func (t *Tuning) Save() (path string, err error) {
	if path, err = t.path(); err != nil {
		return "", err
	}
	all := Tuning{Key: t.Key, Seconds: map[string]map[string]float64{}}
	if kept := t.kept(); kept != nil {
		maps.Copy(all.Seconds, kept.Seconds)
	}
	maps.Copy(all.Seconds, t.Seconds)
	data, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return "", err
	}
	f, err := createTuning(path)
	if err != nil {
		return "", err
	}
	defer f.Discard()
	if _, err := f.Write(append(data, '\n')); err != nil {
		return "", err
	}
	return path, f.Commit()
}

// CanSaveTuning tells before long measurements why Save would fail.
func CanSaveTuning() error {
	folder, err := tuningFolder()
	if err != nil {
		return err
	}
	f, err := createTuning(filepath.Join(folder, "tuning"))
	if err != nil {
		return err
	}
	f.Discard()
	return nil
}

func createTuning(path string) (*atomicfile.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return atomicfile.Create(path, true)
}

func tuningFolder() (string, error) {
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "clip-wgpu"), err
}

// path is a file for each key, so that one machine's adapters do not displace
// one another's.
func (t *Tuning) path() (string, error) {
	folder, err := tuningFolder()
	return filepath.Join(folder, fmt.Sprintf("tuning-%.8x.json", sha256.Sum256([]byte(t.Key)))), err
}
