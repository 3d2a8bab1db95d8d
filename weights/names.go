package weights

import "strings"

// Layout is a way in which a program names and shapes the tensors of a model. The
// families of towers tell in which of them their models come.
type Layout struct {
	Name   string
	is     func(src StateDict) bool         // by its keys
	rename func(src StateDict) (Map, error) // as open_clip has them
	// Preprocess is the preprocess_cfg, in JSON, of all models in this layout. It is empty
	// where they have open_clip's default.
	Preprocess string
}

// The layouts of CLIP's models. Those of other families are beside their rules.
// Canonical leaves OpenCLIP as it is.
var (
	OpenCLIP        = &Layout{Name: "open_clip"}
	OpenAI          = &Layout{"OpenAI", isOpenAI, fromOpenAI, ""}                              // open_clip's names, with three constants beside them
	HuggingFaceCLIP = &Layout{"Hugging Face CLIP", isHuggingFaceCLIP, fromHuggingFaceCLIP, ""} // CLIPModel of transformers
)

// trainingPrefix is what DistributedDataParallel puts before each name.
const trainingPrefix = "module."

// Canonical returns the tensors of src under the names and in the shapes that
// open_clip gives them, and which of layouts they were in, or OpenCLIP. Nothing is read:
// the result's tensors read from src's. Tensors that no rule knows keep their names.
func Canonical(src StateDict, layouts ...*Layout) (canonical StateDict, layout *Layout, err error) {
	path := ""
	if file, ok := src.(*File); ok {
		path = file.path
	}
	err = guarded(path, func() error {
		canonical, layout, err = rename(withoutPrefix(src, trainingPrefix), layouts)
		return at(path, err)
	})
	return canonical, layout, err
}

func rename(src StateDict, layouts []*Layout) (StateDict, *Layout, error) {
	for _, l := range layouts {
		if l.is(src) {
			m, err := l.rename(src)
			return m, l, err
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
