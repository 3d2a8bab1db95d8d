package clip

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"math"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
	"github.com/clip-wgpu/clip-wgpu/graph"
	"github.com/clip-wgpu/clip-wgpu/internal/await"
)

// Identity is what vectors depend on: those of models or preprocessing whose identities
// are not equal cannot be compared.
type Identity struct {
	Fingerprint   string    `json:"fingerprint"`   // SHA-256, in hex, of the config and of the parameters' names, shapes and values
	Weights       CastDType `json:"weights"`       // how the device stores them
	Preprocessing string    `json:"preprocessing"` // of pictures, as preprocess.Transform.Identity has it
}

// Identity reads all parameters and tells what vectors of the model depend on, where
// pictures are read with opts. It does not tell tokenizers of one config apart, nor the
// languages of texts, nor adapters without parameters.
func (m *Model) Identity(ctx context.Context, opts ...preprocess.Option) (Identity, error) {
	fingerprint, err := await.Do(ctx, func() (string, error) { return m.fingerprint(ctx) }, nil)
	if err != nil {
		return Identity{}, err
	}
	return Identity{fingerprint, m.castDType, m.Preprocess().Identity(opts...)}, nil
}

// fingerprint reads the parameters where they have their values: as long as nothing has
// changed them that is where they came from, whatever the device makes of them.
func (m *Model) fingerprint(ctx context.Context) (string, error) {
	h := sha256.New()
	if err := json.NewEncoder(h).Encode(m.Config()); err != nil {
		return "", err
	}
	if a := m.source.Adapter; a != nil {
		fmt.Fprintf(h, "%+v\n", a.Config) // its scale is no parameter
	}
	for name, p := range m.Parameters() {
		source := p.Source
		if m.changed.Load() {
			source = &onDevice{ctx: ctx, store: m.Store(), param: p}
		}
		fmt.Fprintf(h, "%q %v\n", name, p.Shape) // a hash has no errors
		if err := hashValues(ctx, h, source, p.Shape.Elems()); err != nil {
			return "", fmt.Errorf("tensor %s: %w", name, err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// hashValues writes n values of source to h, a part at a time.
func hashValues(ctx context.Context, h hash.Hash, source graph.Source, n int) error {
	const part = 1 << 16
	values, bytes := make([]float32, min(n, part)), make([]byte, 4*min(n, part))
	for at := 0; at < n; at += part {
		if err := ctx.Err(); err != nil {
			return err
		}
		values = values[:min(part, n-at)]
		if err := source.ReadF32(values, at); err != nil {
			return err
		}
		for i, v := range values {
			binary.LittleEndian.PutUint32(bytes[4*i:], math.Float32bits(v))
		}
		h.Write(bytes[:4*len(values)])
	}
	return nil
}
