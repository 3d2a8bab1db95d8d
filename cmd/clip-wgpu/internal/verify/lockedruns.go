package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/train"
)

// lockedRun is a run in locks.json, and the model that it starts from.
type lockedRun struct {
	curve
	RequiresGrad states            `json:"requires_grad"`
	Decay        []string          `json:"decay"`
	NoDecay      []string          `json:"no_decay"`
	BatchNorms   map[string]string `json:"batchnorm_classes"`     // classes by module; nil where not recorded
	Moved        []string          `json:"running_stats_changed"` // by the run; nil where not recorded
}

// states are pairs of a name and a state.
type states map[string]bool

// UnmarshalJSON implements json.Unmarshaler.
func (s *states) UnmarshalJSON(data []byte) error {
	var pairs [][2]any
	if err := json.Unmarshal(data, &pairs); err != nil {
		return err
	}
	*s = states{}
	for _, pair := range pairs {
		name, named := pair[0].(string)
		state, is := pair[1].(bool)
		if !named || !is {
			return fmt.Errorf("%v is no pair of a name and a state", pair)
		}
		(*s)[name] = state
	}
	return nil
}

// compareLockedRuns makes the rows of models with locked towers, before and after a
// short training.
func (t *training) compareLockedRuns(ctx context.Context) error {
	const file = "locks.json"
	if !t.has(file) {
		return nil
	}
	var runs map[string]lockedRun
	if err := t.decode(file, &runs); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(runs)) {
		locks, ok := parseLocks(name)
		if !ok || !runs[name].constant() && len(runs[name].Loss) > 0 {
			t.notBuilt(name, "a run with these settings")
			continue
		}
		if err := t.compareLockedRun(ctx, name, setting{loss: train.ClipLoss{}, locks: locks}, runs[name]); err != nil {
			return fmt.Errorf("%s: %s: %w", file, name, err)
		}
	}
	return nil
}

func (t *training) compareLockedRun(ctx context.Context, name string, s setting, want lockedRun) error {
	r, err := t.start(ctx, s, want.curve)
	if err != nil {
		return err
	}
	defer r.close()
	t.compareStates(name+".requires_grad", trainable(r.model), want.RequiresGrad)
	if want.Decay != nil || want.NoDecay != nil {
		t.compareDecay(name+".decay", r.model, s.decays(), want.Decay, want.NoDecay)
	}
	if want.BatchNorms != nil {
		t.compareBatchNorms(name+".batchnorm_classes", r.model, want)
	}
	before, err := r.trainer.Parameters(ctx)
	if err != nil {
		return err
	}
	if err := t.compareRun(ctx, name, r, want.curve); err != nil {
		return err
	}
	after, err := r.trainer.Parameters(ctx)
	if err != nil {
		return err
	}
	t.compareMoved(name, r.model, before, after, want)
	return nil
}

// compareBatchNorms makes the row of which batch norms are frozen: those that count no
// batches.
func (c *testCase) compareBatchNorms(row string, m *clip.Model, want lockedRun) {
	params := maps.Collect(m.Parameters())
	got, wanted := map[string]bool{}, map[string]bool{}
	for name := range params {
		if module, ok := strings.CutSuffix(name, ".running_mean"); ok {
			got[module] = params[module+".num_batches_tracked"] == nil
		}
	}
	for module, class := range want.BatchNorms {
		wanted[module] = class == "FrozenBatchNorm2d"
	}
	c.compareStates(row, got, wanted)
}

// compareMoved makes two rows: the frozen parameters that a run changed, which must be
// none, and, where the recording lists them, the running statistics that it changed,
// which must be those listed.
func (c *testCase) compareMoved(name string, m *clip.Model, before, after map[string]clip.Array, want lockedRun) {
	frozen, moved := map[string]bool{}, map[string]bool{}
	for name, p := range m.Parameters() {
		switch {
		case sameBits(before[name].Data, after[name].Data):
		case !p.Buffer && p.Frozen:
			frozen[name] = true
		case strings.Contains(name, ".running_"):
			moved[name] = true
		}
	}
	c.compareStates(name+".frozen parameters changed", frozen, nil)
	if want.Moved != nil {
		c.compareStates(name+".running_stats_changed", moved, statesOf(want.Moved, true))
	}
}

func sameBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}
