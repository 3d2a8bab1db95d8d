package towers

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/check"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/layers"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

// recorded builds a fresh model of a recording.
func recorded(t *testing.T, name string) *Model {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(oracle, name, "config.json"))
	require.NoError(t, err)
	m, err := Build(parse(t, data))
	require.NoError(t, err)
	return m
}

// trainable names the parameters of a tower that are trainable, sorted.
func trainable(tower Tower) (names []string) {
	weights.Walk(tower, func(_ string, p *graph.Param) {
		if p.RequiresGrad() {
			names = append(names, p.Name)
		}
	})
	slices.Sort(names)
	return names
}

// What open_clip leaves trainable, of a model of each family.
func TestLocksAreThoseOfOpenCLIP(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(oracle, "locks_and_wd", "locks.json"))
	require.NoError(t, err)
	var recordings map[string]map[string][]string
	require.NoError(t, json.Unmarshal(data, &recordings))
	for name, lists := range recordings {
		for call, want := range lists {
			var tower string
			var unlocked int
			if n, _ := fmt.Sscanf(strings.ReplaceAll(call, "_", " "), "lock %s tower(%d)", &tower, &unlocked); n != 2 {
				continue
			}
			m := recorded(t, name)
			images, texts := trainable(m.Visual), trainable(m.Text)
			if slices.Sort(want); tower == "image" {
				m.LockImageTower(unlocked, false)
				images = want
			} else {
				require.NoError(t, m.LockTextTower(unlocked, true))
				texts = want
			}
			assert.ElementsMatch(t, images, trainable(m.Visual), "%s: %s", name, call)
			assert.ElementsMatch(t, texts, trainable(m.Text), "%s: %s", name, call)
			assert.False(t, m.LogitScale.Frozen)
		}
	}
	for _, f := range families {
		if f.built() {
			assert.Contains(t, recordings, f.Recording, f.Name)
		}
	}
}

// A name that no tower has would lock nothing.
func TestGroupsNameWhatTowersHave(t *testing.T) {
	configs, err := filepath.Glob(filepath.Join(oracle, "*", "config.json"))
	require.NoError(t, err)
	used := map[string]bool{}
	for _, path := range configs {
		m := recorded(t, filepath.Base(filepath.Dir(path)))
		for tower, f := range map[Tower]Family{m.Visual: m.imageFamily, m.Text: m.textFamily} {
			for _, pattern := range slices.Concat(f.Groups...) {
				weights.Walk(tower, func(name string, _ *graph.Param) {
					if _, ok := match(pattern, name); ok {
						used[pattern] = true
					}
				})
			}
		}
	}
	for _, f := range families {
		for _, pattern := range slices.Concat(f.Groups...) {
			assert.True(t, used[pattern], "%s: nothing is called %s", f.Name, pattern)
		}
	}
}

// The fixed table of sines and cosines is frozen until its group is unlocked, as in
// open_clip, and the attentional poolers are in no group.
func TestLocksOverrideEarlierOnes(t *testing.T) {
	m := recorded(t, "opt_sincos")
	table := m.Visual.(*visionTransformer).PositionalEmbedding
	assert.True(t, table.Frozen)
	m.LockImageTower(2, false)
	assert.True(t, table.Frozen)
	m.LockImageTower(3, false)
	assert.False(t, table.Frozen)
	m.LockImageTower(0, false)
	assert.Empty(t, trainable(m.Visual))
	m.LockImageTower(-1, false)
	assert.Empty(t, trainable(m.Visual))
	m.LockImageTower(99, false)
	assert.Contains(t, trainable(m.Visual), "visual.positional_embedding")

	m = recorded(t, "opt_attn_pool_cascade")
	m.LockImageTower(0, false)
	for _, name := range trainable(m.Visual) {
		assert.Contains(t, name, "visual.attn_pool")
	}
	assert.NotEmpty(t, trainable(m.Visual))
}

// Batch norms of frozen groups lose their parameters for good, but for the stem's.
func TestLockFreezesBatchNorms(t *testing.T) {
	m := recorded(t, "modified_resnet")
	frozen := func() (names []string) {
		weights.Find(m.Visual, func(name string, b *layers.BatchNorm2D) {
			if b.NumBatchesTracked == nil {
				assert.True(t, b.Weight.Buffer && b.Bias.Buffer, name)
				names = append(names, name)
			}
		})
		return names
	}
	m.LockImageTower(0, false)
	assert.Empty(t, frozen())
	m.LockImageTower(3, true)
	names := frozen()
	assert.NotEmpty(t, names)
	for _, name := range names {
		assert.True(t, strings.HasPrefix(name, "layer1.") || strings.HasPrefix(name, "layer2."), name)
	}
	m.LockImageTower(99, false)
	assert.Equal(t, names, frozen())
	assert.Contains(t, trainable(m.Visual), "visual.bn1.weight")
	assert.NotContains(t, trainable(m.Visual), "visual.layer1.0.bn1.weight")
	m.LockImageTower(0, true)
	assert.NotContains(t, frozen(), "bn1")
	assert.Contains(t, frozen(), "layer4.0.downsample.1")
}

// Hugging Face's text towers can keep their layer norms trainable, CLIP's cannot.
func TestLockKeepsLayerNorms(t *testing.T) {
	m := recorded(t, "opt_custom_text")
	fresh := trainable(m.Text)
	err := m.LockTextTower(0, false)
	require.ErrorIs(t, err, check.ErrInput)
	assert.ErrorContains(t, err, "CLIP text")
	assert.Equal(t, fresh, trainable(m.Text))
	m.textFamily.LayerNorm = "ln_1"
	require.NoError(t, m.LockTextTower(1, false))
	assert.Equal(t, []string{"text.text_projection", "text.transformer.resblocks.0.ln_1.bias", "text.transformer.resblocks.0.ln_1.weight"}, trainable(m.Text))
}

// stages is a tower with the names of timm's convolutional networks.
type stages struct {
	Tower
	Stem   *graph.Param   `w:"stem"`
	Stages []stage        `w:"stages"`
	Norm   *graph.Param   `w:"norm_pre"`
	Head   []*graph.Param `w:"head.fc"`
	Other  *graph.Param   `w:"other"`
}

type stage struct {
	Downsample *graph.Param   `w:"downsample"`
	Blocks     []*graph.Param `w:"blocks"`
}

// Two numbers, stage and block, order groups by their values. A name with the stage
// alone belongs to its first block.
func TestGroupsByTwoNumbers(t *testing.T) {
	many := func(n int) []*graph.Param {
		all := make([]*graph.Param, n)
		for i := range all {
			all[i] = new(graph.Param)
		}
		return all
	}
	tower := &stages{Stem: new(graph.Param), Stages: []stage{{Blocks: many(11)}, {Downsample: new(graph.Param), Blocks: many(2)}}, Norm: new(graph.Param), Head: many(2), Other: new(graph.Param)}
	weights.Walk(tower, func(name string, p *graph.Param) { p.Name = name })
	f := Family{Groups: [][]string{{"stem"}, {"norm_pre", "stages.*.downsample", "stages.*.blocks.*"}, {"head"}}}
	var got [][]string
	for _, group := range f.groups(tower) {
		var names []string
		for _, p := range group {
			names = append(names, p.Name)
		}
		got = append(got, names)
	}
	want := [][]string{{"stem"}}
	for i := range 11 {
		want = append(want, []string{fmt.Sprintf("stages.0.blocks.%d", i)})
	}
	want = append(want, []string{"stages.1.downsample", "stages.1.blocks.0"}, []string{"stages.1.blocks.1", "norm_pre"}, []string{"head.fc.0", "head.fc.1"})
	assert.Equal(t, want, got)
}
