package verify

import (
	"maps"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/train"
)

// compareSchedules makes a row for each learning-rate schedule of lr_schedules.json.
func (c *testCase) compareSchedules() error {
	const file = "lr_schedules.json"
	if !c.has(file) {
		return nil
	}
	var s struct {
		Base     float64              `json:"base_lr"`
		Warmup   int                  `json:"warmup"`
		Total    int                  `json:"total"`
		Cooldown int                  `json:"cooldown_steps"`
		Power    float64              `json:"cooldown_power"`
		End      float64              `json:"cooldown_end_lr"`
		Rates    map[string][]float64 `json:"lr_at_step"`
	}
	if err := c.decode(file, &s); err != nil {
		return err
	}
	schedules := map[string]train.Schedule{
		"cosine":         train.CosineLR(s.Base, s.Warmup, s.Total),
		"const":          train.ConstLR(s.Base, s.Warmup),
		"const-cooldown": train.ConstLRCooldown(s.Base, s.Warmup, s.Total, s.Cooldown, s.Power, s.End),
	}
	for _, name := range slices.Sorted(maps.Keys(s.Rates)) {
		schedule, want := schedules[name], s.Rates[name]
		if schedule == nil {
			c.notBuilt(name, "this schedule")
			continue
		}
		got := make([]float64, len(want))
		for i := range got {
			got[i] = schedule(i + 1)
		}
		c.compareSteps("lr."+name, got, want, rateTolerance)
	}
	return nil
}
