package towers

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	emojiclip "github.com/clip-wgpu/clip-wgpu/clip/emoji-clip"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/cliptest"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/guard"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

const oracle = "../../tests/testdata/oracle"

// parse reads a config that is meant to be right.
func parse(t testing.TB, data []byte) config.Config {
	t.Helper()
	c, _, err := config.Parse(data)
	require.NoError(t, err)
	require.NoError(t, Check(&c))
	return c
}

var update = flag.Bool("update", false, "write the golden files")

// shapes lists the state dict of c's model, sorted, a line each.
func shapes(t *testing.T, c config.Config) (lines []string) {
	t.Helper()
	m, err := Build(c)
	require.NoError(t, err)
	for name, p := range m.Parameters() {
		lines = append(lines, fmt.Sprintf("%s %v\n", name, p.Shape))
	}
	slices.Sort(lines)
	return lines
}

// Names and shapes of every checkpoint that open_clip wrote for the tests.
func TestParametersAreTheStateDict(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(oracle, "*", "model.safetensors"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		data, err := os.ReadFile(filepath.Join(filepath.Dir(file), "config.json"))
		require.NoError(t, err)
		f, err := weights.Open(file)
		require.NoError(t, err)
		var want []string
		for _, x := range f.Tensors() {
			want = append(want, fmt.Sprintf("%s %v\n", x.Name, x.Shape))
		}
		slices.Sort(want)
		require.NoError(t, f.Close())
		assert.Equal(t, want, shapes(t, parse(t, data)), file)
	}
}

// Every combination of options that may meet becomes a program.
func TestOptionsCombine(t *testing.T) {
	built := 0
	check := func(c config.Config) {
		m, err := Build(c)
		require.NoError(t, err)
		for _, batch := range []int{1, 3} {
			image, text, err := m.Programs(batch, nil)
			require.NoError(t, err, "%+v", c)
			assert.Equal(t, batch, image.Outputs[0].Shape[0])
			assert.Equal(t, batch, text.Outputs[0].Shape[0])
		}
		built++
	}
	base := parse(t, cliptest.With(t, "vision_cfg", `{"width": 20, "head_width": 10, "attn_pooler_heads": 4, "attn_pooler_queries": 3}`))
	for _, pool := range []config.AttentionalPool{config.PoolerNone, config.PoolerSingle, config.PoolerParallel, config.PoolerCascade} {
		for _, poolType := range []string{"tok", "avg", "none"} {
			for flags := range 8 {
				c := base
				v := &c.VisionCfg
				v.AttentionalPool, v.PoolType = pool, poolType
				v.NoLnPre, v.FinalLnAfterPool, v.ScaleAttn = flags&1 > 0, flags&2 > 0, flags&4 > 0
				check(c)
			}
		}
	}
	for _, poolType := range []string{"argmax", "first", "last", "eos", "none"} {
		for flags := range 64 {
			c := base
			x := &c.TextCfg
			eos := 2
			x.PoolType, x.EosID = poolType, &eos
			x.ProjBias, x.NoCausalMask, x.QKNorm = flags&1 > 0, flags&2 > 0, flags&4 > 0
			c.CustomText, c.QuickGELU = flags&8 > 0, flags&16 > 0
			x.EmbedCls = c.CustomText && flags&32 > 0
			check(c)
		}
	}
	for _, headWidth := range []int{64, 72, 80, 88, 104, 112} {
		for _, size := range []config.Size{{28, 28}, {30, 45}, {14, 70}} {
			for _, patch := range []config.Size{{14, 14}, {7, 9}, {1, 13}} {
				c := base
				v, x := &c.VisionCfg, &c.TextCfg
				v.Width, v.HeadWidth, v.ImageSize, v.PatchSize, v.MLPRatio = 2*headWidth, headWidth, size, patch, 3.7362
				x.Width, x.Heads = 3*headWidth, 3
				check(c)
			}
		}
	}
	assert.Equal(t, 4*3*8+5*64+6*3*3, built)
}

// The programs of the embedded model, and of one recording of each family, as the
// listing that "clip-wgpu program" prints: what a change does to the plan shows in
// review. Run the test with -update to accept it.
func TestListings(t *testing.T) {
	data, err := emojiclip.Files.ReadFile("open_clip_config.json")
	require.NoError(t, err)
	configs := map[string]config.Config{"emoji-clip": parse(t, data)}
	for _, f := range families {
		if f.Recording != "" {
			data, err := os.ReadFile(filepath.Join(oracle, f.Recording, "config.json"))
			require.NoError(t, err)
			configs[f.Recording] = parse(t, data)
		}
	}
	for name, c := range configs {
		m, err := Build(c)
		require.NoError(t, err)
		image, text, err := m.Programs(1, nil)
		require.NoError(t, err)
		caption, err := m.CaptionProgram(1, 6, nil)
		require.NoError(t, err)
		for tower, p := range map[string]*graph.Program{"image": image, "text": text, "caption": caption} {
			if p == nil {
				continue
			}
			file := filepath.Join("testdata", name+"-"+tower+".golden")
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(p.String()), 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			assert.Equal(t, string(want), p.String(), "%s; run go test ./clip/towers -update if the change is meant", file)
		}
	}
}

// Encoding folds no batch norm: that is done when parameters are loaded or have changed.
func TestBatchNormsAreFoldedOnce(t *testing.T) {
	for _, name := range []string{"modified_resnet", "mobileclip_b_mci"} {
		data, err := os.ReadFile(filepath.Join(oracle, name, "config.json"))
		require.NoError(t, err)
		m, err := Build(parse(t, data))
		require.NoError(t, err)
		for _, batch := range []int{1, 8} {
			p, _, err := m.Programs(batch, nil)
			require.NoError(t, err)
			folds := func(s graph.Step) bool { return s.Kernel.Name == "batchnorm_fold" }
			assert.True(t, slices.ContainsFunc(p.Steps[:p.Once], folds), name)
			assert.False(t, slices.ContainsFunc(p.Steps[p.Once:], folds), name)
		}
	}
}

// A panic while a config is checked is that config's error.
func TestPanicsBecomeErrorsOfTheConfig(t *testing.T) {
	known := families
	defer func() { families = known }()
	families = append(slices.Clip(known), planned("broken", Visual, func(c *config.Config) bool { return c.VisionCfg.Layers[12] > 0 }, timmName))
	c, _, err := config.Parse([]byte(cliptest.Tiny))
	require.NoError(t, err)
	var caught *guard.PanicError
	require.ErrorAs(t, Check(&c), &caught)
}

// An odd value of any key of a family's config means something, or is that key's error in a
// line: it is no panic.
func TestOddValuesOfConfigs(t *testing.T) {
	for _, f := range families {
		if f.Recording == "" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(oracle, f.Recording, "config.json"))
		require.NoError(t, err)
		var root map[string]any
		require.NoError(t, json.Unmarshal(data, &root))
		changed(root, func(key string) {
			data, err := json.Marshal(root)
			require.NoError(t, err)
			c, _, err := config.Parse(data)
			if err == nil {
				err = Check(&c)
			}
			if err == nil {
				_, err = Build(c)
				require.NoError(t, err, "%s: %s", f.Name, data)
				return
			}
			var caught *guard.PanicError
			assert.False(t, errors.As(err, &caught), "%s: %s: %v", f.Name, key, err)
			assert.NotContains(t, err.Error(), "\n", "%s: %s", f.Name, key)
		})
	}
}

// changed calls try with each value below v replaced by odd ones, in turns.
func changed(v any, try func(key string)) {
	replace := func(key string, value any, set func(any)) {
		for _, odd := range []any{nil, 0, -1, 1e12, 2.5, "12", []any{}, map[string]any{}} {
			set(odd)
			try(key)
		}
		set(value)
		changed(value, try)
	}
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			replace(key, value, func(x any) { v[key] = x })
		}
	case []any:
		for i, value := range v {
			replace(fmt.Sprint(i), value, func(x any) { v[i] = x })
		}
	}
}

// Every layout of weights but open_clip's own is one of a family: others would not be
// recognised.
func TestLayoutsHaveFamilies(t *testing.T) {
	files, err := filepath.Glob("../../weights/names*.go")
	require.NoError(t, err)
	all := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		all += strings.Count(string(source), "&Layout{")
	}
	require.Greater(t, all, 1)
	assert.Len(t, Layouts(), all-1)
}
