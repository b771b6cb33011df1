"""Which images are to be made: the words of a person, as orders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from scripts.images import catalogue, derived
from scripts.images.catalogue import Module, UnknownModule, Variant
from scripts.images.derived import Name
from supervisor.failures import BadUsage


@dataclass(frozen=True, kw_only=True)
class Order:
    """One image to make: what it is called, and the catalogue image to make it from."""

    module: Module
    name: Name
    base: str

    @property
    def variant(self) -> Variant:
        return self.name.variant

    @property
    def base_is_ours(self) -> bool:
        """Whether the base is built from a folder of this project, rather than pulled."""
        return self.module.build is not None and self.base == self.module.image(self.variant)


def plan(
    modules: Mapping[str, Module],
    models: Sequence[str],
    variant: str,
    *,
    registry: str = derived.REGISTRY,
    tag: str | None = None,
    base: str | None = None,
) -> list[Order | BadUsage]:
    """The orders for these models, in order; a BadUsage is what is wrong with one of them.

    variant: cpu, gpu or all. Raises BadUsage where nothing can be made of the words.
    """
    if base and (len(models) > 1 or "all" in models):
        raise BadUsage("--base names one base image, and there are several modules", "name one module with it")
    wanted = catalogue.variants(variant)
    orders: dict[str, Order | BadUsage] = {}
    for module in _modules(models, modules):
        if isinstance(module, BadUsage):
            orders[module.message] = module
            continue
        for order in _orders(module, wanted, explicit=variant != "all", registry=registry, tag=tag, base=base):
            orders[order.message if isinstance(order, BadUsage) else str(order.name)] = order
    return list(orders.values())


def _modules(models: Iterable[str], modules: Mapping[str, Module]) -> Iterator[Module | BadUsage]:
    for model in models:
        if model == "all":
            yield from (module for module in modules.values() if module.variants and not module.unfit)
            continue
        try:
            yield catalogue.find(model, modules)
        except UnknownModule as error:
            yield error


def _orders(
    module: Module, wanted: Iterable[Variant], *, explicit: bool, registry: str, tag: str | None, base: str | None
) -> Iterator[Order | BadUsage]:
    sources = {variant: base or module.image(variant) for variant in wanted}
    name_one = f"name one with --base {module.repository}:TAG"
    if not any(sources.values()) and not explicit:
        yield BadUsage(f"{module.name}: no tag of {module.repository} is known", name_one)
    for variant, source in sources.items():
        if source:
            name = Name(registry=registry, module=module.name, variant=variant, tag=tag)
            yield Order(module=module, name=name, base=source)
        elif explicit:
            there = " and ".join(module.variants)
            yield BadUsage(f"{module.name} has no {variant} image", f"it has {there}" if there else name_one)
