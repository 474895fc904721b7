"""Words of the simulated catalogue: categories, brands and the wording that hints at how price-sensitive buyers are."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    """A category of goods: six nouns in English and Chinese, four pack sizes, one sentence of description."""

    name: str
    chinese: str
    department: str
    unit: str
    sizes: tuple[str, str, str, str]
    nouns: tuple[str, ...]
    nouns_zh: tuple[str, ...]
    blurb: str


class Maker(NamedTuple):
    """A brand in both scripts."""

    name: str
    chinese: str


_GRAMS = ("250 g", "500 g", "750 g", "1 kg")
_LITRES = ("330 ml", "500 ml", "1 l", "2 l")
_PIECES = ("2 pcs", "4 pcs", "8 pcs", "16 pcs")

CATEGORIES: tuple[Kind, ...] = (
    Kind("coffee", "咖啡", "grocery", "g", _GRAMS,
         ("ground coffee", "espresso beans", "filter coffee", "decaf coffee", "instant coffee", "coffee pods"),
         ("研磨咖啡", "浓缩咖啡豆", "滤泡咖啡", "低因咖啡", "速溶咖啡", "咖啡胶囊"), "Roasted in small batches."),
    Kind("tea", "茶", "grocery", "g", _GRAMS,
         ("green tea", "black tea", "oolong tea", "jasmine tea", "herbal tea", "chai tea"),
         ("绿茶", "红茶", "乌龙茶", "茉莉花茶", "草本茶", "奶茶粉"), "Leaves picked in spring."),
    Kind("soft drinks", "饮料", "drinks", "ml", _LITRES,
         ("cola", "lemonade", "orange soda", "iced tea", "tonic water", "ginger ale"),
         ("可乐", "柠檬汽水", "橙味汽水", "冰红茶", "汤力水", "姜汁汽水"), "Best served cold."),
    Kind("juice", "果汁", "drinks", "ml", _LITRES,
         ("orange juice", "apple juice", "grape juice", "mango nectar", "tomato juice", "pear juice"),
         ("橙汁", "苹果汁", "葡萄汁", "芒果汁", "番茄汁", "梨汁"), "Pressed fruit, no added sugar."),
    Kind("yoghurt", "酸奶", "dairy", "g", _GRAMS,
         ("plain yoghurt", "strawberry yoghurt", "vanilla yoghurt", "greek yoghurt", "skyr", "drinking yoghurt"),
         ("原味酸奶", "草莓酸奶", "香草酸奶", "希腊酸奶", "冰岛酸奶", "饮用酸奶"), "Live cultures, keep chilled."),
    Kind("cheese", "奶酪", "dairy", "g", _GRAMS,
         ("cheddar", "gouda slices", "mozzarella", "cream cheese", "feta", "brie"),
         ("切达奶酪", "高达奶酪片", "马苏里拉", "奶油奶酪", "菲达奶酪", "布里奶酪"), "Made from whole milk."),
    Kind("snacks", "零食", "grocery", "g", _GRAMS,
         ("potato chips", "tortilla chips", "salted nuts", "popcorn", "pretzels", "rice crackers"),
         ("薯片", "玉米片", "咸味坚果", "爆米花", "椒盐脆饼", "米饼"), "For sharing."),
    Kind("biscuits", "饼干", "bakery", "g", _GRAMS,
         ("butter biscuits", "oat cookies", "chocolate cookies", "wafers", "shortbread", "digestives"),
         ("黄油饼干", "燕麦曲奇", "巧克力曲奇", "威化饼", "酥饼", "消化饼"), "Baked golden."),
    Kind("laundry", "洗衣", "household", "ml", _LITRES,
         ("liquid detergent", "colour detergent", "fabric softener", "wool wash", "stain remover", "laundry sanitiser"),
         ("洗衣液", "护色洗衣液", "柔顺剂", "羊毛洗涤剂", "去渍剂", "衣物除菌液"), "For all washing machines."),
    Kind("paper goods", "纸品", "household", "pcs", _PIECES,
         ("toilet paper", "kitchen towels", "tissues", "napkins", "wet wipes", "baking paper"),
         ("卫生纸", "厨房纸", "抽纸", "餐巾纸", "湿巾", "烘焙纸"), "Soft and strong."),
    Kind("shampoo", "洗发水", "care", "ml", _LITRES,
         ("repair shampoo", "daily shampoo", "dandruff shampoo", "baby shampoo", "conditioner", "dry shampoo"),
         ("修护洗发水", "日常洗发水", "去屑洗发水", "婴儿洗发水", "护发素", "免洗喷雾"), "Dermatologically tested."),
    Kind("pasta", "面食", "grocery", "g", _GRAMS,
         ("spaghetti", "penne", "fusilli", "egg noodles", "lasagne sheets", "rice noodles"),
         ("意大利面", "通心粉", "螺旋面", "鸡蛋面", "千层面", "米粉"), "Durum wheat and patience."),
)  # fmt: skip

BRANDS: tuple[Maker, ...] = (
    Maker("Alder", "赤杨"), Maker("Brightway", "明途"), Maker("Corvo", "科沃"), Maker("Dunmore", "敦茂"),
    Maker("Elvet", "艾薇"), Maker("Fennhill", "芬山"), Maker("Garland", "花环"), Maker("Heron", "苍鹭"),
)  # fmt: skip
PRIVATE_BRAND = Maker("Corner Choice", "街角优选")

PREMIUM = (("premium", "organic", "artisan"), ("臻选", "有机", "手工"))
VALUE = (("value", "basic", "saver"), ("实惠", "基础", "省钱装"))
