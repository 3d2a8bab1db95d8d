package verify

import (
	"context"
	"maps"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/train"
)

// decays is the rule of what the weight decay is for.
func (s setting) decays() func(*graph.Param) bool {
	if s.legacy {
		return train.DecaysLegacy
	}
	return train.Decays
}

// compareDecayRules makes a row for each rule that meta.json lists the parameters of.
func (t *training) compareDecayRules(ctx context.Context) error {
	var want struct {
		Decay         []string `json:"decay_head_rule"`
		NoDecay       []string `json:"no_decay_head_rule"`
		DecayLegacy   []string `json:"decay_legacy_rule"`
		NoDecayLegacy []string `json:"no_decay_legacy_rule"`
	}
	if err := t.decode("meta.json", &want); err != nil || want.Decay == nil {
		return err
	}
	m, err := t.model(ctx, setting{})
	if err != nil {
		return err
	}
	defer m.Close()
	t.compareDecay("decay_head_rule", m, train.Decays, want.Decay, want.NoDecay)
	t.compareDecay("decay_legacy_rule", m, train.DecaysLegacy, want.DecayLegacy, want.NoDecayLegacy)
	return nil
}

// compareDecay makes the row of which trainable parameters the weight decay reaches.
func (c *testCase) compareDecay(row string, m *clip.Model, decays func(*graph.Param) bool, decay, noDecay []string) {
	got, wanted := map[string]bool{}, statesOf(decay, true)
	maps.Copy(wanted, statesOf(noDecay, false))
	for name, p := range m.Parameters() {
		if p.RequiresGrad() {
			got[name] = decays(p)
		}
	}
	c.compareStates(row, got, wanted)
}
