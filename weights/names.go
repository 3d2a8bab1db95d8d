package weights

import "strings"

// Layout is a way in which programs name the tensors of a model.
type Layout string

// The layouts that Canonical knows.
const (
	OpenCLIP          Layout = "open_clip"
	OpenAI            Layout = "OpenAI"              // open_clip's names, with three constants beside them
	HuggingFaceCLIP   Layout = "Hugging Face CLIP"   // CLIPModel of transformers
	HuggingFaceSigLIP Layout = "Hugging Face SigLIP" // SiglipModel of transformers
	BigVision         Layout = "big_vision"          // SigLIP as Google published it
	MobileCLIPB       Layout = "MobileCLIP-B"        // as Apple published it
	trainingPrefix           = "module."             // what DistributedDataParallel puts before each name
)

// layouts have, each in its file, a test by keys and a rule that renames. The
// rule of the first whose test holds is taken.
var layouts = []struct {
	layout Layout
	is     func(src StateDict) bool
	rename func(src StateDict) (Map, error)
}{
	{OpenAI, isOpenAI, fromOpenAI},
	{HuggingFaceCLIP, isHuggingFaceCLIP, fromHuggingFaceCLIP},
	{HuggingFaceSigLIP, isHuggingFaceSigLIP, fromHuggingFaceSigLIP},
	{BigVision, isBigVision, fromBigVision},
	{MobileCLIPB, isMobileCLIPB, fromMobileCLIPB},
}

// Layouts lists those that Canonical knows beside open_clip's own.
func Layouts() (list []Layout) {
	for _, l := range layouts {
		list = append(list, l.layout)
	}
	return list
}

// Canonical returns the tensors of src under the names and in the shapes that
// open_clip gives them, and the layout that they were in. Nothing is read: the
// result's tensors read from src's. Tensors that no rule knows keep their names.
func Canonical(src StateDict) (canonical StateDict, layout Layout, err error) {
	path := ""
	if file, ok := src.(*File); ok {
		path = file.path
	}
	err = guarded(path, func() error {
		canonical, layout, err = rename(withoutPrefix(src, trainingPrefix))
		return at(path, err)
	})
	return canonical, layout, err
}

func rename(src StateDict) (StateDict, Layout, error) {
	for _, l := range layouts {
		if l.is(src) {
			m, err := l.rename(src)
			return m, l.layout, err
		}
	}
	return src, OpenCLIP, nil
}

// withoutPrefix removes a prefix that all names have.
func withoutPrefix(src StateDict, prefix string) StateDict {
	m := Map{}
	for _, name := range src.Names() {
		short, ok := strings.CutPrefix(name, prefix)
		if !ok {
			return src
		}
		t, _ := src.Tensor(name)
		t.Name = short
		m[short] = t
	}
	return m
}

// has tells whether src has all of the names.
func has(src StateDict, names ...string) bool {
	for _, name := range names {
		if _, ok := src.Tensor(name); !ok {
			return false
		}
	}
	return true
}

// openAIConstants are buffers of OpenAI's archives that are no weights.
var openAIConstants = []string{"input_resolution", "context_length", "vocab_size"}

func isOpenAI(src StateDict) bool {
	return has(src, openAIConstants...) && has(src, "visual.conv1.weight", "token_embedding.weight", "text_projection")
}

// fromOpenAI drops the constants (load_state_dict of open_clip's factory.py).
func fromOpenAI(src StateDict) (Map, error) {
	m := Map{}
	for _, name := range src.Names() {
		m[name], _ = src.Tensor(name)
	}
	for _, name := range openAIConstants {
		delete(m, name)
	}
	return m, nil
}
