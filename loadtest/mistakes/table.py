"""The mistakes: what a user does, why it misleads, who has been misled, and what is to be expected here."""

from __future__ import annotations

from contract.errors import InvalidSettings
from contract.records.mistakes import ALL_CORES, CAREFUL, FRAMEWORKS, Mistake, Setup

_PYTORCH, _TENSORFLOW, _JAX = FRAMEWORKS
_JAX_BENCHMARKING = "https://docs.jax.dev/en/latest/benchmarking.html"
_EAGER = "https://github.com/haifeng-jin/keras-benchmarks/issues/2"
_LAYOUT = "https://docs.pytorch.org/tutorials/intermediate/memory_format_tutorial.html"
_MLPERF = "https://github.com/mlcommons/inference_policies/blob/master/inference_rules.adoc"
_SYSNOISE = "https://arxiv.org/abs/2307.00280"


def _all(way: str) -> dict[str, str]:
    return dict.fromkeys(FRAMEWORKS, way)


MISTAKES = (
    Mistake(
        name="no_synchronisation",
        title="No synchronisation, 10 calls",
        done="times ten calls and stops each clock when the call returns",
        why="JAX answers before it has computed, on the CPU too; PyTorch and TensorFlow compute first on the CPU",
        evidence=(_JAX_BENCHMARKING, "https://github.com/1ytic/warp-rnnt/issues/9"),
        expected="faster",
        ways={_JAX: "no_sync"},
        references={},
    ),
    Mistake(
        name="no_synchronisation_long",
        title="No synchronisation, 200 calls",
        done="times two hundred calls the same way",
        why="JAX's queue on the CPU holds 32 computations; once it is full each call waits for an older one, and the "
        "mistake hides itself",
        evidence=(_JAX_BENCHMARKING,),
        expected="either",
        ways={_JAX: "no_sync_long"},
        references={},
    ),
    Mistake(
        name="first_call_in_the_mean",
        title="First call in the mean",
        done="starts the program, times a hundred calls and takes their mean",
        why="the first call traces and compiles; what it adds is divided by the number of calls that somebody chose",
        evidence=(_JAX_BENCHMARKING, "https://github.com/pytorch/pytorch/issues/55898"),
        expected="slower",
        ways={},
        references={},
        statistic="first_call_in_mean",
    ),
    Mistake(
        name="predict_in_a_loop",
        title="model.predict in a loop",
        done="calls Keras's model.predict for one image at a time",
        why="predict builds a data set and runs callbacks at each call; its documentation says not to use it in loops",
        evidence=(
            "https://keras.io/api/models/model_training_apis/#predict-method",
            "https://github.com/tensorflow/tensorflow/issues/40261",
        ),
        expected="slower",
        ways={_TENSORFLOW: "predict_loop"},
        references={},
    ),
    Mistake(
        name="nnx_jit_per_call",
        title="nnx.jit over the module",
        done="hands Flax's module to nnx.jit as an argument of every call",
        why="Flax takes the module apart in Python at each call, which for a small network outlasts its computation",
        evidence=("https://flax.readthedocs.io/en/latest/guides/performance.html",),
        expected="slower",
        ways={_JAX: "nnx_jit"},
        references={},
    ),
    Mistake(
        name="pytorch_eager",
        title="PyTorch eager, the others compiled",
        done="compares model(x) in PyTorch with tf.function and jax.jit",
        why="one framework is timed operator by operator and the others as one program",
        evidence=(_EAGER, "https://github.com/keras-team/keras/issues/21851"),
        expected="either",
        ways={_PYTORCH: "eager"},
        references={},
    ),
    Mistake(
        name="keras_eager",
        title="Keras eager, the others compiled",
        done="compares model(x) in Keras with torch.compile and jax.jit",
        why="each operator is dispatched from Python, through Keras's own layers",
        evidence=(_EAGER,),
        expected="slower",
        ways={_TENSORFLOW: "eager"},
        references={},
    ),
    Mistake(
        name="jax_eager",
        title="JAX without jit, the others compiled",
        done="compares model(x) in Flax with torch.compile and tf.function",
        why="each operator is a program of its own, dispatched from Python",
        evidence=(_EAGER,),
        expected="slower",
        ways={_JAX: "eager"},
        references={},
    ),
    Mistake(
        name="nchw_copied",
        title="NCHW copied for PyTorch",
        done="holds NHWC images and copies each into PyTorch's default NCHW; PyTorch is eager on both sides",
        why="copy and layout are paid by one framework alone; torch.compile chooses layouts itself and would hide it",
        evidence=(_LAYOUT, "https://github.com/jax-ml/jax/issues/12868"),
        expected="slower",
        ways={_PYTORCH: "nchw_copied"},
        references={_PYTORCH: "eager"},
    ),
    Mistake(
        name="transposed",
        title="NCHW transposed for TensorFlow and JAX",
        done="holds NCHW images, as PyTorch's tutorials do, and transposes each for the other two",
        why="the copy is inside the clock of two frameworks and not of the third",
        evidence=(_LAYOUT,),
        expected="either",
        ways={_TENSORFLOW: "transposed", _JAX: "transposed"},
        references={},
    ),
    Mistake(
        name="unequal_threads",
        title="Unequal threads",
        done="calls torch.set_num_threads(1) and takes all three to be limited by it",
        why="it governs PyTorch alone; TensorFlow and JAX take every core that the process may use",
        evidence=(
            "https://github.com/huggingface/sentence-transformers/issues/3987",
            "https://github.com/jax-ml/jax/issues/1539",
        ),
        expected="either",
        ways={_TENSORFLOW: CAREFUL, _JAX: CAREFUL},
        references={},
        setup=ALL_CORES.name,
    ),
    Mistake(
        name="precision_default",
        title="bfloat16 under the name of float32",
        done="copies torch.set_float32_matmul_precision('medium'); PyTorch is eager on both sides",
        why="oneDNN may then compute in bfloat16 where the CPU has it: another precision, and other logits",
        evidence=(
            "https://docs.pytorch.org/docs/stable/generated/torch.set_float32_matmul_precision.html",
            "https://github.com/jax-ml/jax/issues/4873",
        ),
        expected="either",
        ways={_PYTORCH: "low_precision"},
        references={_PYTORCH: "eager"},
        answers=True,
    ),
    Mistake(
        name="tf32_default",
        title="TF32 by default",
        done="compares frameworks on a GPU with their own defaults",
        why="PyTorch's convolutions use TF32 and its matrix products do not; TensorFlow uses it for both",
        evidence=(
            "https://docs.pytorch.org/docs/stable/notes/cuda.html",
            "https://github.com/jax-ml/jax/issues/4873",
        ),
        expected="faster",
        ways=_all("tf32"),
        references={},
        answers=True,
        not_measured="TF32 exists on NVIDIA GPUs alone, and this command measures the CPU",
    ),
    Mistake(
        name="framework_resize",
        title="Each framework's own resize",
        done="shrinks photographs with the resize that each framework has, as it comes",
        why="torch.nn.functional.interpolate and tf.image.resize do not antialias unless they are told to; JAX, PIL "
        "and torchvision's Resize do: other pixels, other answers, and another time",
        evidence=(_SYSNOISE,),
        expected="either",
        ways=_all("native_resize"),
        references=_all("pil_resize"),
        answers=True,
    ),
    Mistake(
        name="divided_twice",
        title="Pixels divided by 255 twice",
        done="scales pixels in the loader, and once more before the network",
        why="the network sees an almost black image; nothing crashes and the time does not tell",
        evidence=(_SYSNOISE,),
        expected="either",
        ways=_all("divided_twice"),
        references=_all("pil_resize"),
        answers=True,
    ),
    Mistake(
        name="default_network",
        title="Another network under one name",
        done="writes the same layers with each framework's defaults and loads the same weights",
        why="batch norm's epsilon is 1e-3 in Keras and 1e-5 elsewhere; at stride 2, SAME pads one side in Keras and "
        "Flax where PyTorch's padding=1 pads both. PyTorch's defaults are this network's. Initialisation differs too, "
        "and matters to training alone",
        evidence=("https://github.com/keras-team/keras/issues/20713",),
        expected="either",
        ways={_TENSORFLOW: "default_network", _JAX: "default_network"},
        references={},
        answers=True,
    ),
    Mistake(
        name="closed_loop_only",
        title="Closed loop only",
        done="takes the p99 of a client that waits for each answer before it asks again",
        why="the client slows down with the server, so nobody queues. Here recorded inference times serve Poisson "
        "arrivals at 70 % of what the slowest framework can do: a replay by Lindley's recursion, not a service",
        evidence=(
            "https://github.com/giltene/wrk2",
            "https://github.com/triton-inference-server/server/issues/3113",
        ),
        expected="faster",
        ways={},
        references={},
        statistic="closed_p99",
        reference_statistic="open_p99",
    ),
    Mistake(
        name="too_few_samples",
        title="Ten calls",
        done="takes the mean of ten calls in a row, after warm-up, from one process",
        why="ten calls are as good as the ten milliseconds they fell into",
        evidence=(_MLPERF, "https://doi.org/10.1145/2807591.2807644"),
        expected="scatters",
        ways={},
        references={},
        statistic="mean_of_ten",
    ),
    Mistake(
        name="mean_for_percentile",
        title="Mean instead of percentile",
        done="promises the mean to users",
        why="one user in a hundred waits for the p99 or longer, and the mean says nothing of that",
        evidence=("https://doi.org/10.1145/2807591.2807644", _MLPERF),
        expected="faster",
        ways={},
        references={},
        statistic="mean",
        reference_statistic="p99",
    ),
)

# In a burst of its own length, with the queue empty before: so much of the mistake is the length of the loop.
BURST_CALLS = {"no_sync": 10, "no_sync_long": 200}
# Ways that are another way's code in another loop.
SAME_CODE = {"no_sync_long": "no_sync"}


def chosen_mistakes(names: tuple[str, ...]) -> tuple[Mistake, ...]:
    """The mistakes called ``names``, in the table's order; all of them for none."""
    known = {mistake.name for mistake in MISTAKES}
    if unknown := sorted(set(names) - known):
        raise InvalidSettings(f"no mistake is called {unknown[0]!r}; choose from: {', '.join(sorted(known))}")
    return tuple(mistake for mistake in MISTAKES if not names or mistake.name in names)


def ways_of(mistakes: tuple[Mistake, ...], framework: str, setup: Setup) -> tuple[str, ...]:
    """What a process of ``framework`` in ``setup`` has to time for ``mistakes``, the careful way first."""
    sides = [
        side for one in mistakes if not one.not_measured for side in (one.way(framework), one.reference(framework))
    ]
    wanted = {way for name, way in sides if name == setup.name}
    return tuple(sorted(wanted, key=lambda way: (way != CAREFUL, way)))


def answering_ways(mistakes: tuple[Mistake, ...], framework: str) -> tuple[str, ...]:
    """The ways of ``framework`` whose classes are to be compared, the references among them."""
    kept = [one for one in mistakes if one.answers and not one.not_measured]
    return tuple(sorted({way for one in kept for _, way in (one.way(framework), one.reference(framework))}))
