package clip

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/internal/cliptest"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/weights"
)

func identity(t *testing.T, m *Model, opts ...preprocess.Option) Identity {
	t.Helper()
	id, err := m.Identity(t.Context(), opts...)
	require.NoError(t, err)
	return id
}

// An identity stays the same through files and use, and changes with whatever vectors
// depend on.
func TestIdentity(t *testing.T) {
	m := newModel(t, `{}`)
	want := identity(t, m)
	assert.Len(t, want.Fingerprint, 64)
	assert.Equal(t, F32, want.Weights)
	_, err := m.EncodeImage(t.Context(), randomImages(m, 1), true)
	require.NoError(t, err)
	assert.Equal(t, want, identity(t, m))
	assert.Equal(t, want, identity(t, newModel(t, `{}`)))
	require.NoError(t, m.Refresh(t.Context()))
	assert.Equal(t, want, identity(t, m), "read from the device")

	other, err := New(parse(t, []byte(cliptest.Tiny)), 2, WithDevice(device(t)))
	require.NoError(t, err)
	defer other.Close()
	assert.NotEqual(t, want.Fingerprint, identity(t, other).Fingerprint, "other values")
	assert.NotEqual(t, want.Fingerprint, identity(t, newModel(t, `{"quick_gelu": true}`)).Fingerprint, "the same values in another config")
	packed := identity(t, newModel(t, `{}`, WithCastDType(F16)))
	assert.Equal(t, Identity{want.Fingerprint, F16, want.Preprocessing}, packed)

	for name, opt := range map[string]preprocess.Option{
		"draft": m.Preprocess().Draft(), "orientation": preprocess.WithOrientation(), "scale": preprocess.WithScale(2),
	} {
		id := identity(t, m, opt)
		assert.NotEqual(t, want.Preprocessing, id.Preprocessing, name)
		assert.Equal(t, want.Fingerprint, id.Fingerprint, name)
	}
	assert.Equal(t, want, identity(t, m, preprocess.WithMaxPixels(100), preprocess.WithScale(1)), "what changes no pixels")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = m.Identity(ctx)
	assert.ErrorIs(t, err, context.Canceled)
}

// A model that has changed on the device is another one, and the same once it is saved.
func TestIdentityOfAChangedModel(t *testing.T) {
	m := newModel(t, `{}`)
	before := identity(t, m)
	for name, p := range m.Parameters() {
		if name == "visual.ln_post.bias" {
			values := make([]float32, p.Shape.Elems())
			values[0] = 1
			require.NoError(t, m.Store().Write(t.Context(), &p.State, values))
		}
	}
	require.NoError(t, m.Refresh(t.Context()))
	changed := identity(t, m)
	assert.NotEqual(t, before.Fingerprint, changed.Fingerprint)
	folder := filepath.Join(t.TempDir(), "model")
	_, err := m.Save(t.Context(), folder, SaveOptions{DType: weights.F32})
	require.NoError(t, err)
	loaded, err := Load(t.Context(), folder, WithDevice(device(t)))
	require.NoError(t, err)
	defer loaded.Close()
	assert.Equal(t, changed, identity(t, loaded))
}
