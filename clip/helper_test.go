package clip

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/clip-wgpu/clip-wgpu/clip/config"
	"github.com/clip-wgpu/clip-wgpu/clip/internal/cliptest"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/gpu"
)

// openDevice opens the device that all tests share.
var openDevice = sync.OnceValues(func() (*gpu.Device, error) {
	return gpu.Open(gpu.Options{DefaultLimits: true})
})

func device(t testing.TB) *gpu.Device {
	t.Helper()
	d, err := openDevice()
	require.NoError(t, err)
	return d
}

func TestMain(m *testing.M) {
	code := m.Run()
	if d, err := openDevice(); err == nil {
		if err := d.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// parse reads a config that is meant to be right.
func parse(t testing.TB, data []byte) config.Config {
	t.Helper()
	c, _, err := models.Parse(data)
	require.NoError(t, err)
	return c
}

// classes are the two kinds of model, as changes of the cliptest.Tiny config.
var classes = []struct{ name, members string }{
	{"CLIP", `{}`},
	{"CustomTextCLIP", `{"custom_text": true, "init_logit_bias": -10}`},
}

// newModel makes a model of the cliptest.Tiny config with changes of its top level.
func newModel(t testing.TB, members string, opts ...Option) *Model {
	t.Helper()
	var c map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(cliptest.Tiny), &c))
	require.NoError(t, json.Unmarshal([]byte(members), &c))
	data, err := json.Marshal(c)
	require.NoError(t, err)
	m, err := New(parse(t, data), 1, append([]Option{WithDevice(device(t))}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// randomImages are n images as the tower takes them.
func randomImages(m *Model, n int) Array {
	s := m.Config().VisionCfg.ImageSize
	r := rand.New(rand.NewPCG(1, uint64(n)))
	x := Array{Shape: []int{n, 3, s[0], s[1]}, Data: make([]float32, n*3*s[0]*s[1])}
	for i := range x.Data {
		x.Data[i] = float32(r.NormFloat64())
	}
	return x
}

// randomTexts are n rows of the full context.
func randomTexts(m *Model, n int) [][]int32 {
	c := m.Config().TextCfg
	r := rand.New(rand.NewPCG(2, uint64(n)))
	rows := make([][]int32, n)
	for i := range rows {
		rows[i] = make([]int32, c.ContextLength)
		for j := range rows[i] {
			rows[i][j] = int32(r.IntN(c.VocabSize))
		}
	}
	return rows
}

// rows are items lo to hi of t.
func (t Array) rows(lo, hi int) Array {
	item := len(t.Data) / t.Shape[0]
	return Array{append([]int{hi - lo}, t.Shape[1:]...), t.Data[lo*item : hi*item]}
}
