package train

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/gpu"
)

func TestStepAfterClose(t *testing.T) {
	m := open(t)
	images, texts := pairs(2)
	trainer, err := New(m, DefaultConfig())
	require.NoError(t, err)
	_, err = trainer.Step(t.Context(), images, texts)
	require.NoError(t, err)
	require.NoError(t, trainer.Close())
	require.NoError(t, trainer.Close())
	_, err = trainer.Step(t.Context(), images, texts)
	assert.ErrorIs(t, err, gpu.ErrClosed)
	_, err = m.EncodeImage(t.Context(), images, true)
	assert.NoError(t, err)
}
