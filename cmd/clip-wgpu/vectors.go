package main

import (
	"fmt"
	"slices"

	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/clip/towers"
	"github.com/clip-wgpu/clip-wgpu/graph"
)

// mustEncode refuses a model that has no vectors of what its towers are to encode. Commands ask
// before they encode anything: the pictures that come before the first text may be a million.
func (s *session) mustEncode(of ...string) error {
	m := s.model
	if slices.Contains(of, textTower) {
		config, t := m.Config(), m.Tokenizer()
		if t == nil {
			return fmt.Errorf("model %s cannot read texts: %w", m.Name(), config.TextCfg.NoTokenizer())
		}
		if n := models.Vocabulary(&config); n > 0 { // that of files beside the weights has been checked
			if err := t.Fits(n); err != nil {
				return fmt.Errorf("model %s cannot read texts: %w", m.Name(), err)
			}
		}
	}
	outputs := m.Record(graph.New(), 1, m.Lengths())
	for _, tower := range of {
		features := map[string]string{imageTower: towers.ImageFeatures, textTower: towers.TextFeatures}[tower]
		if shape := outputs[features].Shape(); len(shape) > 2 {
			return fmt.Errorf("model %s: its %s tower does not pool (features of shape %v), so it has no vector for an input", m.Name(), tower, shape[1:])
		}
	}
	return nil
}
