package verify

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/gpu"
)

func TestParseLocks(t *testing.T) {
	for name, want := range map[string][]lock{
		"lock_image_tower(2)":                                       {{unlocked: 2}},
		"lock_image_tower()":                                        {{}},
		"lock_text_tower(0)":                                        {{text: true, freeze: true}},
		"lock_image_tower(0,freeze_bn_stats=True)":                  {{freeze: true}},
		"lock_image_tower(freeze_bn_stats=True, unlocked_groups=1)": {{unlocked: 1, freeze: true}},
		"lock_text_tower(1, False)":                                 {{text: true, unlocked: 1}},
		"lock_image_tower(0)+lock_text_tower(3)":                    {{}, {text: true, unlocked: 3, freeze: true}},
		"lock_image_tower(0) then (2): later call overrides":        {{}, {unlocked: 2}},
		"lock_image_tower(99) more groups than exist":               {{unlocked: 99}},
		"":                                      nil,
		"no_decay_with_ndim_over_1":             nil,
		"lock_image_tower(all)":                 nil,
		"lock_text_tower(1, True, False)":       nil,
		"lock_text_tower(pooler_in_head=False)": nil,
		"lock_image_tower(0)+train()":           nil,
	} {
		got, ok := parseLocks(name)
		assert.Equal(t, want != nil, ok, name)
		if ok {
			assert.Equal(t, want, got, name)
		}
	}
}

// Names that are too many or too few are told, and which models are not built.
func TestLocksThatDiffer(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, content any) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		writeJSON(t, path, content)
	}
	require.NoError(t, os.CopyFS(filepath.Join(dir, "opt_sincos"), os.DirFS(filepath.Join(testdata, "oracle/opt_sincos"))))
	text := map[string]any{"context_length": 8, "vocab_size": 90, "width": 24, "heads": 2, "layers": 1}
	vision := map[string]any{"timm_model_name": "focalnet_tiny_srf", "image_size": 64}
	write("focalnet/config.json", map[string]any{"embed_dim": 20, "vision_cfg": vision, "text_cfg": text})
	write("focalnet/meta.json", map[string]any{"kind": "forward"})
	write("locks/meta.json", map[string]any{"kind": "locks"})
	write("locks/locks.json", map[string]map[string][]string{
		"focalnet": {"lock_image_tower(0)": {}},
		"opt_sincos": {
			"lock_image_tower(0)":       {"visual.proj"},
			"lock_image_tower(1)":       {},
			"lock_text_tower(0)":        {"positional_embedding", "no_such_name"},
			"lock_text_tower(1)":        {"text_projection"},
			"no_decay_with_ndim_over_1": {"positional_embedding"},
			"something else":            {},
		},
	})
	rows, err := newVerifier(t, gpu.Options{}).Run(t.Context(), filepath.Join(dir, "locks"))
	require.NoError(t, err)
	assert.Equal(t, []Row{
		{Case: "locks", Tensor: "focalnet.lock_image_tower(0)", Status: NotBuilt, Note: "a model of the family other timm"},
		{Case: "locks", Tensor: "opt_sincos.lock_image_tower(0)", Error: 1, Status: Fail, Note: "visual.proj"},
		{Case: "locks", Tensor: "opt_sincos.lock_image_tower(1)", Error: 1, Status: Fail, Note: "visual.proj"},
		{Case: "locks", Tensor: "opt_sincos.lock_text_tower(0)", Error: 2, Status: Fail, Note: "no_such_name positional_embedding"},
		{Case: "locks", Tensor: "opt_sincos.lock_text_tower(1)", Status: OK},
		{Case: "locks", Tensor: "opt_sincos.no_decay_with_ndim_over_1", Error: 1, Status: Fail, Note: "visual.positional_embedding"},
		{Case: "locks", Tensor: "opt_sincos.something else", Status: NotBuilt, Note: "this list"},
	}, rows)

	write("locks/locks.json", map[string]map[string][]string{"focalnet": {"lock_image_tower(0)": {}}})
	rows, err = newVerifier(t, gpu.Options{}).Run(t.Context(), filepath.Join(dir, "locks"))
	require.ErrorIs(t, err, ErrCannotRun)
	assert.Len(t, rows, 1)

	write("locks/locks.json", map[string]map[string][]string{"no_such_case": {}})
	_, err = newVerifier(t, gpu.Options{}).Run(t.Context(), filepath.Join(dir, "locks"))
	require.ErrorIs(t, err, ErrCannotRun)
	require.ErrorContains(t, err, "no_such_case")
}
