package verify

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// lockable is a model, on a device or not.
type lockable interface {
	LockImageTower(unlockedGroups int, freezeBNStats bool)
	LockTextTower(unlockedLayers int, freezeLayerNorm bool) error
	Parameters() iter.Seq2[string, *graph.Param]
}

// lock is a call of lock_image_tower or lock_text_tower.
type lock struct {
	text     bool
	unlocked int
	freeze   bool // batch norms' statistics, or layer norms
}

func applyLocks(m lockable, locks []lock) error {
	for _, l := range locks {
		if !l.text {
			m.LockImageTower(l.unlocked, l.freeze)
		} else if err := m.LockTextTower(l.unlocked, l.freeze); err != nil {
			return err
		}
	}
	return nil
}

// lockCall matches a call, which "then" repeats with other arguments.
var lockCall = regexp.MustCompile(`(lock_image_tower|lock_text_tower|then )\(([^()]*)\)`)

// parseLocks reads the calls in a name, as Python writes them, among other words.
func parseLocks(name string) (calls []lock, ok bool) {
	text := false
	for _, m := range lockCall.FindAllStringSubmatch(name, -1) {
		if m[1] != "then " {
			text = m[1] == "lock_text_tower"
		}
		l, ok := parseLock(text, m[2])
		if !ok {
			return nil, false
		}
		calls = append(calls, l)
	}
	rest := lockCall.ReplaceAllString(name, "")
	return calls, len(calls) > 0 && !strings.Contains(rest, "(")
}

// parseLock reads the arguments of a call, by position or by name.
func parseLock(text bool, args string) (lock, bool) {
	l, names := lock{text: text, freeze: text}, []string{"unlocked_groups", "freeze_bn_stats"}
	if text {
		names = []string{"unlocked_layers", "freeze_layer_norm"}
	}
	if args == "" {
		return l, true
	}
	for i, arg := range strings.Split(args, ",") {
		name, value, named := strings.Cut(strings.TrimSpace(arg), "=")
		if !named {
			name, value = names[min(i, 1)], name
		}
		var err error
		switch {
		case i > 1:
			return l, false
		case name == names[0]:
			l.unlocked, err = strconv.Atoi(value)
		case name == names[1]:
			l.freeze, err = strconv.ParseBool(value)
		default:
			return l, false
		}
		if err != nil {
			return l, false
		}
	}
	return l, true
}

// verifyLocks compares, for the models of other cases, which parameters of a locked
// tower stay trainable and which matrices the weight decay leaves alone.
func verifyLocks(_ context.Context, c *testCase) error {
	var want map[string]map[string][]string
	if err := c.decode("locks.json", &want); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		model, err := openCase(c.Verifier, c.path("../"+name))
		if err == nil {
			err = c.compareModel(model, want[name])
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// compareModel makes a row for each list of names that is known of a case's model.
func (c *testCase) compareModel(model *testCase, lists map[string][]string) error {
	cfg, err := model.config()
	unsupported := errors.Is(err, config.ErrUnsupported)
	switch {
	case err != nil && !(unsupported && cfg != nil):
		return err
	case cfg == nil:
		return errors.New("config.json is missing")
	}
	for _, list := range slices.Sorted(maps.Keys(lists)) {
		row, want := model.name+"."+list, statesOf(lists[list], true)
		locks, isCall := parseLocks(list)
		switch {
		case unsupported:
			c.notBuilt(row, "a model of the family "+towers.Of(cfg).Name)
			continue
		case list != "no_decay_with_ndim_over_1" && !isCall:
			c.notBuilt(row, "this list")
			continue
		}
		m, err := towers.Build(*cfg)
		if err == nil && isCall {
			err = c.compareLocked(row, m, locks, want)
		} else if err == nil {
			c.compareStates(row, undecayedMatrices(m), want)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", list, err)
		}
	}
	return nil
}

// compareLocked makes the row of m after locks: want are the parameters of the locked
// towers that are trainable then, and the others are as they were.
func (c *testCase) compareLocked(row string, m *towers.Model, locks []lock, want map[string]bool) error {
	fresh := trainable(m)
	if err := applyLocks(m, locks); err != nil {
		return err
	}
	for name, on := range fresh {
		image, logit := strings.HasPrefix(name, "visual."), strings.HasPrefix(name, "logit_")
		locked := !logit && slices.ContainsFunc(locks, func(l lock) bool { return l.text != image })
		want[name] = want[name] || on && !locked
	}
	c.compareStates(row, trainable(m), want)
	return nil
}

// statesOf gives names a state.
func statesOf(names []string, state bool) map[string]bool {
	all := make(map[string]bool, len(names))
	for _, name := range names {
		all[name] = state
	}
	return all
}

// trainable tells of all parameters whether training changes them.
func trainable(m lockable) map[string]bool {
	all := map[string]bool{}
	for name, p := range m.Parameters() {
		if !p.Buffer {
			all[name] = p.RequiresGrad()
		}
	}
	return all
}

// undecayedMatrices are the parameters that the weight decay leaves alone though they
// are neither vectors nor scalars.
func undecayedMatrices(m lockable) map[string]bool {
	all := map[string]bool{}
	for name, p := range m.Parameters() {
		if p.NoDecay && len(p.Shape) > 1 {
			all[name] = true
		}
	}
	return all
}

// compareStates makes the row of a state by name. Its error is the number of names
// whose states differ, or that one side lacks.
func (c *testCase) compareStates(row string, got, want map[string]bool) {
	var wrong []string
	for name, state := range want {
		if s, ok := got[name]; !ok || s != state {
			wrong = append(wrong, name)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			wrong = append(wrong, name)
		}
	}
	slices.Sort(wrong)
	c.add(row, float64(len(wrong)), 0, strings.Join(wrong[:min(3, len(wrong))], " "))
}
