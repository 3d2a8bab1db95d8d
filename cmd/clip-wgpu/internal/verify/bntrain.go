package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
)

// verifyBatchNormTraining compares the gradient digests of another case's model with
// batch norms in train mode, and the running statistics afterwards.
func verifyBatchNormTraining(ctx context.Context, c *testCase) error {
	more := struct {
		InputsFrom string              `json:"inputs_from"`
		Updating   map[string][]string `json:"bn_updating"` // the batch norms that a lock leaves updating
	}{InputsFrom: "inputs.safetensors"}
	if err := c.decode("meta.json", &more); err != nil {
		return err
	}
	in, err := c.inputs(more.InputsFrom)
	if err != nil {
		return err
	}
	m, err := c.load(ctx)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := c.compareDigests(ctx, m, in); err != nil {
		return err
	}
	if err := c.compareStatistics(ctx, m); err != nil {
		return err
	}
	for _, lock := range slices.Sorted(maps.Keys(more.Updating)) {
		if err := c.compareUpdating(ctx, lock, more.Updating[lock]); err != nil {
			return err
		}
	}
	return nil
}

// compareUpdating makes the row of which batch norms count batches after a lock.
func (c *testCase) compareUpdating(ctx context.Context, lock string, want []string) error {
	var unlocked int
	if n, _ := fmt.Sscanf(lock, "lock_image_tower(%d,freeze_bn_stats=True)", &unlocked); n != 1 {
		return fmt.Errorf("meta.json: bn_updating: %q: want lock_image_tower(GROUPS,freeze_bn_stats=True)", lock)
	}
	m, err := c.load(ctx)
	if err != nil {
		return err
	}
	defer m.Close()
	m.LockImageTower(unlocked, true)
	got, wanted := map[string]bool{}, map[string]bool{}
	for name := range m.Parameters() {
		if module, ok := strings.CutSuffix(name, ".num_batches_tracked"); ok {
			got[module] = true
		}
	}
	for _, module := range want {
		wanted[module] = true
	}
	c.compareStates("bn_updating."+lock, got, wanted)
	return nil
}

// compareStatistics makes a row for every buffer after one batch in train mode.
// The recordings leave out the counts of batches, which are one more than in the
// weights.
func (c *testCase) compareStatistics(ctx context.Context, m *clip.Model) error {
	tolerance, err := c.tolerance()
	if err != nil {
		return err
	}
	want, err := c.readAll(runningStats)
	if err != nil {
		return err
	}
	for name, p := range m.Parameters() {
		if strings.HasSuffix(name, ".num_batches_tracked") {
			count := clip.Array{Shape: p.Shape, Data: make([]float32, 1)}
			if err := p.Source.ReadF32(count.Data, 0); err != nil {
				return err
			}
			count.Data[0]++
			want[name] = count
		}
	}
	got, err := buffers(ctx, m)
	if err != nil {
		return err
	}
	c.compareParameters("running_stats.", got, want, func(string) float64 { return tolerance })
	return nil
}

// buffers reads what training changes without a gradient, by state-dict name.
func buffers(ctx context.Context, m *clip.Model) (map[string]clip.Array, error) {
	all := map[string]clip.Array{}
	for name, p := range m.Parameters() {
		if !p.Buffer {
			continue
		}
		x := clip.Array{Shape: p.Shape, Data: make([]float32, p.Shape.Elems())}
		if err := m.Store().Read(ctx, &p.State, x.Data); err != nil {
			return nil, err
		}
		all[name] = x
	}
	return all, nil
}
