#!/bin/sh
# NumPyro in a program that is exported for any number of rows: a normal distribution by its Cholesky factor.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  jax==0.10.2 jaxlib==0.10.2 numpyro==0.22.0

cat <<'TEXT'
Guess: a distribution that works inside jax.jit works inside jax.export with a symbolic number of rows as well, since
       arguments that are traced have no values that could be validated.
Found: MultivariateNormal(mean, scale_tril=...) with a factor for each row works under jit, and export raises
       UnexpectedDimVar: the validation, which is on by default, computes a triangle of the traced factor at compile
       time, where a symbolic size has no value. With validate_args=False it is exported, and so are Normal, Dirichlet,
       LowRankMultivariateNormal and a factor that all rows share, with their validation on.
TEXT

cat > "$folder/check.py" <<'PYTHON'
import sys

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import export

print("jax", jax.__version__, "numpyro", numpyro.__version__)
ROWS = {
    "MultivariateNormal, a factor for each row": lambda m, f: dist.MultivariateNormal(m, scale_tril=f).log_prob(m),
    "the same, validate_args=False": lambda m, f: dist.MultivariateNormal(
        m, scale_tril=f, validate_args=False
    ).log_prob(m),
    "MultivariateNormal, one factor": lambda m, f: dist.MultivariateNormal(m, scale_tril=jnp.eye(3)).log_prob(m),
    "LowRankMultivariateNormal": lambda m, f: dist.LowRankMultivariateNormal(m, f, jnp.exp(m)).log_prob(m),
    "Dirichlet": lambda m, f: dist.Dirichlet(jnp.exp(m)).log_prob(jax.nn.softmax(m)),
    "Normal": lambda m, f: dist.Normal(m, 1.0).to_event(1).log_prob(m),
}
means, factors = jnp.zeros((4, 3)), jnp.broadcast_to(jnp.eye(3), (4, 3, 3))
(rows,) = export.symbolic_shape("rows")
shapes = jax.ShapeDtypeStruct((rows, 3), "float32"), jax.ShapeDtypeStruct((rows, 3, 3), "float32")
found = {}
for name, function in ROWS.items():
    program = jax.jit(function)
    expected = program(means, factors)
    try:
        made = export.export(program)(*shapes).call(means, factors)
        found[name] = "as under jit" if jnp.allclose(made, expected) else "another result"
    except Exception as error:
        found[name] = type(error).__name__
    print(f"{name:42s} jit: {expected.shape}, export: {found[name]}")
first, *others = found.values()
as_stated = first == "UnexpectedDimVar" and set(others) == {"as under jit"}
print("as stated" if as_stated else "behaviour changed")
sys.exit(0 if as_stated else 1)
PYTHON
"$folder/venv/bin/python" "$folder/check.py"
