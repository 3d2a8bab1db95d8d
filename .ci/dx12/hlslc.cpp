// hlslc SECONDS FILE...: compiles HLSL as wgpu has Microsoft's DXC do it (shader model 6.0). It fails where DXC refuses a
// file or takes more CPU time for one than so many seconds. DXC_LIB in the environment names DXC's library.
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <sstream>
#include <string>

#include "dxcapi.h"

static double cpuSeconds() { return double(std::clock()) / CLOCKS_PER_SEC; }

// compile returns what DXC says against a text, or "".
static std::string compile(IDxcCompiler3 *compiler, const std::string &text) {
	LPCWSTR args[] = {L"-T", L"cs_6_0", L"-E", L"main", L"-HV", L"2018", L"-Ges"};
	DxcBuffer buffer{text.data(), text.size(), DXC_CP_UTF8};
	CComPtr<IDxcResult> result;
	HRESULT status = compiler->Compile(&buffer, args, std::size(args), nullptr, __uuidof(IDxcResult), (void **)&result);
	if (SUCCEEDED(status)) {
		result->GetStatus(&status);
	}
	if (SUCCEEDED(status)) {
		return "";
	}
	CComPtr<IDxcBlobUtf8> message;
	if (result) {
		result->GetOutput(DXC_OUT_ERRORS, __uuidof(IDxcBlobUtf8), (void **)&message, nullptr);
	}
	return message ? message->GetStringPointer() : "no result";
}

int main(int argc, char **argv) {
	const char *path = getenv("DXC_LIB");
	void *library = dlopen(path ? path : "./libdxcompiler_x86_64.so.3.7", RTLD_NOW);
	auto create = library ? (DxcCreateInstanceProc)dlsym(library, "DxcCreateInstance") : nullptr;
	CComPtr<IDxcCompiler3> compiler;
	if (argc < 3 || !create || FAILED(create(CLSID_DxcCompiler, __uuidof(IDxcCompiler3), (void **)&compiler))) {
		fprintf(stderr, "usage: hlslc SECONDS FILE...: %s\n", library ? "no files" : dlerror());
		return 2;
	}
	double limit = atof(argv[1]), all = 0, slowest = 0;
	int good = 0;
	for (int i = 2; i < argc; i++) {
		std::ifstream file(argv[i]);
		std::stringstream text;
		text << file.rdbuf();
		double start = cpuSeconds();
		std::string refusal = file ? compile(compiler, text.str()) : "cannot be read";
		double seconds = cpuSeconds() - start;
		if (refusal.empty() && seconds > limit) {
			refusal = "too slow";
		}
		if (refusal.empty()) {
			good++;
		} else {
			printf("FAIL %s after %.2f s of %.2f s: %.400s\n", argv[i], seconds, limit, refusal.c_str());
		}
		all += seconds;
		slowest = seconds > slowest ? seconds : slowest;
	}
	printf("DXC: %d of %d kernels in %.1f s, the slowest in %.2f s\n", good, argc - 2, all, slowest);
	return good != argc - 2;
}
